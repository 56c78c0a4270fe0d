r"""The targets on a GPU; one command runs them all (docs/performance.md).

BENCH_DATA=FOLDER pytest -m 'gpu and not slow' --benchmark-enable -s \
    tests/benchmarks/test_gpu_speed.py

With cifar10-imagefolder.zip in the folder; for packed cells start MPS before:
nvidia-cuda-mps-control -d
"""

from __future__ import annotations

import time
from functools import partial

import pytest
import torch
from torch import profiler
from torch.backends import cudnn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms

from bench import training
from bench.budgets import parse_budgets
from bench.calibration import calibrate
from bench.cells import Plan, Sweep, with_baselines
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.execution import execute, prepare_torch
from bench.feeding import chosen
from bench.models import MODELS
from bench.normalising import normalisation_for
from bench.operations import TRAINING_FACTOR, operations_per_image
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.stepping import WARM_UP, Trainer

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
MODEL = MODELS.make_one("resnet18")
FULL = 50_000


@pytest.fixture(scope="module")
def source(shared_data):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    path = shared_data / "cifar10-imagefolder.zip"
    if not path.is_file():
        pytest.skip("BENCH_DATA has no cifar10-imagefolder.zip")
    prepare_torch(torch.get_num_threads())
    print(f"\n{torch.cuda.get_device_name()}: {calibrate(DEVICE)}")
    return Source(path)


@pytest.fixture(scope="module")
def splits(source):
    return DATASETS.make_one("imagefolder").load(source)


def job_of(splits, percent, seed=0, spec="paper"):
    protocol = PROTOCOLS.make_one(spec)
    every = 100 // percent
    return training.Job(
        model=MODEL,
        protocol=protocol,
        train=splits.train.subset(range(seed % every, len(splits.train), every)),
        test=splits.test,
        normalisation=normalisation_for(protocol.normalisation, splits.train),
        seed=seed,
        device=DEVICE,
        full_images=len(splits.train),
        share=percent / 100,
    )


def told(benchmark, job, curve):
    each = operations_per_image(MODEL, job.train.shape, len(job.train.classes))
    rate = TRAINING_FACTOR * each * job.protocol.images_seen(job.load) / curve.training_s
    share = rate / calibrate(DEVICE).peak(curve.precision)
    accuracy = 100 * sum(curve.tests[job.protocol.epochs]) / len(job.test)
    benchmark.extra_info |= {"share_of_peak": share, "accuracy": accuracy}
    print(
        f"\n{len(job.train)} images: training {curve.training_s:.1f} s, testing "
        f"{curve.testing_s:.1f} s, {curve.precision}, {100 * share:.0f} % of the peak, "
        f"{accuracy:.2f} %"
    )


@pytest.mark.benchmark(group="ResNet-18, 10 % of CIFAR-10, 200 epochs; the plain loop: 5 of them")
def test_plain_loop_five_epochs(benchmark, splits):
    """The released loop: a DataLoader with transforms, float32, a step a batch."""
    train = job_of(splits, 10).train
    steps = transforms.Compose(
        [
            transforms.ToPILImage(), transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(), transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ]
    )  # fmt: skip
    pairs = [(image, int(label)) for image, label in zip(train.images, train.labels, strict=True)]
    loader = DataLoader(
        pairs, 128, shuffle=True, num_workers=2, persistent_workers=True,
        collate_fn=lambda batch: (
            torch.stack([steps(image) for image, _ in batch]),
            torch.tensor([label for _, label in batch]),
        ),
    )  # fmt: skip
    network = MODEL.build(train.shape, 10).to(DEVICE)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)

    def epochs():
        for _ in range(5):
            for images, labels in loader:
                loss = functional.cross_entropy(network(images.to(DEVICE)), labels.to(DEVICE))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        torch.cuda.synchronize()

    benchmark.pedantic(epochs, rounds=1, warmup_rounds=1)


@pytest.mark.benchmark(group="ResNet-18, 10 % of CIFAR-10, 200 epochs; the plain loop: 5 of them")
@pytest.mark.parametrize("precision", ["auto", pytest.param("fp32", marks=pytest.mark.slow)])
def test_a_tenth_within_20_s(benchmark, splits, precision):
    job = job_of(splits, 10, spec=f"paper[precision={precision}]")
    training.run(job_of(splits, 10, spec="paper[epochs=2]"))  # libraries are loaded once
    _, curve = benchmark.pedantic(training.run, (job,), rounds=1)
    told(benchmark, job, curve)


def test_where_a_steps_time_goes(splits):
    """Print the milliseconds of a step, and the kernels of one that is not captured."""
    job, device = job_of(splits, 10), torch.device(DEVICE)
    network = training.fresh_network(job.model, job.train, 0)
    trainer = Trainer(network, job.protocol, job.precision, device)
    with training.deterministic(), trainer.at_work():
        batches = training._batches(job, device, chosen(job))
        trainer.begin_epoch()
        for step in range(WARM_UP + 1):
            trainer.step(batches.at(step), batches, 0.1)
        (graph,) = trainer._graphs.values()
        (part,) = batches.at(0)
        targets = batches.targets(part.index)
        whole = milliseconds(lambda: trainer.step(batches.at(0), batches, 0.1))
        replayed = milliseconds(lambda: graph.replay(part.images, targets))
        gathered = milliseconds(lambda: batches.at(0))
        eager = milliseconds(lambda: trainer._eager([part], batches))
        with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as profile:
            trainer._eager([part], batches)
            torch.cuda.synchronize()
    print(
        f"\na step of {len(part.index)} images: {whole:.2f} ms; its graph {replayed:.2f}, "
        f"its batch {gathered:.2f}; not captured {eager:.2f}\n"
        + profile.key_averages().table(sort_by="self_device_time_total", row_limit=25)
    )


WAYS = {
    "as it is": training.deterministic,
    "cuDNN's kernels chosen by their time": partial(
        cudnn.flags, benchmark=True, deterministic=True
    ),
    "not deterministic": partial(cudnn.flags, benchmark=True, deterministic=False),
    "compiled": training.deterministic,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_would_make_a_step_faster(splits, way):
    """Print the milliseconds of a captured step in ways not taken now, which give other bits."""
    job, device = job_of(splits, 10), torch.device(DEVICE)
    network = training.fresh_network(job.model, job.train, 0)
    if way == "compiled":
        network.compile()
    trainer = Trainer(network, job.protocol, job.precision, device)
    with WAYS[way](), trainer.at_work():
        batches = training._batches(job, device, chosen(job))
        trainer.begin_epoch()
        start = time.perf_counter()
        for step in range(WARM_UP + 2):
            trainer.step(batches.at(step), batches, 0.1)
        synchronise()
        first_s = time.perf_counter() - start
        took_ms = milliseconds(lambda: trainer.step(batches.at(0), batches, 0.1))
    captured = "captured" if trainer.is_captured else f"not captured: {trainer.capture_failure}"
    print(f"\n{way}: {took_ms:.2f} ms a step, {captured}; the first steps {first_s:.1f} s")


def synchronise():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def milliseconds(work, rounds=50):
    synchronise()
    start = time.perf_counter()
    for _ in range(rounds):
        work()
    synchronise()
    return 1000 * (time.perf_counter() - start) / rounds


@pytest.mark.benchmark(group="ResNet-18, full CIFAR-10, 200 epochs")
def test_full_data_within_120_s(benchmark, splits):
    job = job_of(splits, 100)
    _, curve = benchmark.pedantic(training.run, (job,), rounds=1)
    told(benchmark, job, curve)


def plan_of(source, methods, ratios, seeds):
    dataset = DATASETS.make_one("imagefolder")
    sweep = Sweep(
        dataset=dataset, fingerprint=dataset.fingerprint(source), methods=methods,
        budgets=parse_budgets(ratios), models=[MODEL],
        protocols=[PROTOCOLS.make_one("paper")], seeds=seeds,
    )  # fmt: skip
    return Plan.of(sweep)


def computed(plan, folder, source, pack):
    start = time.perf_counter()
    outcome = execute(plan, Results(folder), source, DEVICE, pack=pack)
    assert len(outcome.computed) == len(plan.cells)
    # at once: the run may be cut off before pytest-benchmark shows its tables
    print(f"\n{len(plan.cells)} cells, {pack} at a time: {time.perf_counter() - start:.1f} s")


@pytest.mark.benchmark(group="seeds at 10 %, with everything around: one, and five packed")
@pytest.mark.parametrize("seeds", [1, 5])
def test_five_packed_seeds_within_two_and_a_half_times_one(benchmark, source, tmp_path, seeds):
    plan = plan_of(source, METHODS.make("random"), "10", seeds)
    benchmark.pedantic(computed, (plan, tmp_path, source, seeds), rounds=1)


@pytest.mark.benchmark(group="the table's ResNet-18 column: 3 methods, 3 ratios, 3 seeds")
@pytest.mark.parametrize("pack", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_the_column_within_15_minutes(benchmark, source, tmp_path, pack):
    methods = [m for m in with_baselines(METHODS.make("dq,adq")) if m.name != "full"]
    plan = plan_of(source, methods, "10,20,30", 3)
    assert len(plan.cells) == 27
    benchmark.pedantic(computed, (plan, tmp_path, source, pack), rounds=1)
