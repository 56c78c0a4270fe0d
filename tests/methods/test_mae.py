from __future__ import annotations

import argparse
import hashlib
import http.server
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from bench.contract import ImageDataset
from bench.errors import DamagedFileError, UsageError
from bench.weights import WeightsFile, sha256_of
from methods.parts.mae import RELEASED, SMALL, VIT_LARGE, Sizes, SmallMae
from methods.parts.mae_network import MaskedAutoencoder, load_released, pad_to
from methods.parts.patches import PatchGrid

TINY = Sizes(width=16, depth=1, heads=2, decoder_width=8, decoder_depth=1, decoder_heads=2)
GRID = PatchGrid.resized(32, 32, 2, 4)


@pytest.fixture
def weights(tmp_path, monkeypatch) -> WeightsFile:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    return WeightsFile("tiny.pth", (tmp_path / "served.pth").as_uri())


def tiny_state(channels=3):
    torch.manual_seed(0)
    network = MaskedAutoencoder(GRID, channels, TINY)
    network.initialise()
    return network.state_dict()


# the network


def test_patches_are_rows_of_pixels_with_channels_last_and_go_back():
    network = MaskedAutoencoder(PatchGrid(6, 4, 3, 2, 2), 3, TINY)
    images = torch.randn(2, 3, 6, 4)
    patches = network.patches(images)
    assert patches.shape == (2, 6, 12)
    by_hand = images[1, :, 2:4, 2:4].permute(1, 2, 0).reshape(-1)  # row 1, column 1: number 3
    assert torch.equal(patches[1, 3], by_hand)
    assert torch.equal(network.image(patches), images)


def test_hidden_patches_cannot_be_seen():
    torch.manual_seed(0)
    network = MaskedAutoencoder(GRID, 3, TINY).eval()
    network.initialise()
    images = torch.randn(1, 3, 8, 8)
    other = images.clone()
    other[:, :, 4:, 4:] = 9.0  # patch 3
    kept = torch.tensor([[2, 0, 1]])
    with torch.no_grad():
        assert torch.equal(network(images, kept), network(other, kept))
        seen = torch.tensor([[3, 0, 1]])
        assert not torch.equal(network(images, seen), network(other, seen))


def test_the_order_of_the_kept_patches_does_not_matter():
    torch.manual_seed(0)
    network = MaskedAutoencoder(GRID, 3, TINY).eval()
    network.initialise()
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        one = network(images, torch.tensor([[0, 1, 3]] * 2))
        other = network(images, torch.tensor([[3, 0, 1]] * 2))
    assert torch.allclose(one, other, atol=1e-5)


def test_positions_are_those_of_the_released_embedding():
    """One row of get_2d_sincos_pos_embed (util/pos_embed.py), by its definition."""
    network = MaskedAutoencoder(PatchGrid(20, 12, 5, 3, 4), 3, TINY)
    frequency = [1.0, 10000**-0.25, 10000**-0.5, 10000**-0.75]
    row, column = 3, 2
    expected = [
        *[np.sin(column * f) for f in frequency], *[np.cos(column * f) for f in frequency],
        *[np.sin(row * f) for f in frequency], *[np.cos(row * f) for f in frequency],
    ]  # fmt: skip
    table = network.pos_embed[0].numpy()
    assert table[1 + row * 3 + column] == pytest.approx(expected, abs=1e-6)
    assert (table[0] == 0).all()
    assert not network.pos_embed.requires_grad


def test_vit_large_has_the_published_size():
    with torch.device("meta"):
        network = MaskedAutoencoder(PatchGrid.resized(32, 32, 14, 16), 3, VIT_LARGE)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["cls_token"] == (1, 1, 1024)
    assert shapes["pos_embed"] == (1, 197, 1024)
    assert shapes["patch_embed.proj.weight"] == (1024, 3, 16, 16)
    assert shapes["blocks.23.attn.qkv.weight"] == (3072, 1024)
    assert shapes["blocks.0.mlp.fc1.weight"] == (4096, 1024)
    assert shapes["decoder_embed.weight"] == (512, 1024)
    assert shapes["mask_token"] == (1, 1, 512)
    assert shapes["decoder_pos_embed"] == (1, 197, 512)
    assert shapes["decoder_blocks.7.attn.proj.bias"] == (512,)
    assert shapes["decoder_pred.weight"] == (768, 512)
    parts = {name.split(".")[0] for name in shapes}
    assert parts == {
        "cls_token", "pos_embed", "mask_token", "decoder_pos_embed", "patch_embed", "blocks",
        "norm", "decoder_embed", "decoder_blocks", "decoder_norm", "decoder_pred",
    }  # fmt: skip
    assert 320e6 < sum(np.prod(shape) for shape in shapes.values()) < 335e6


def test_images_are_continued_to_whole_patches():
    grid = PatchGrid.native(9, 10)
    images = torch.randn(2, 1, 9, 10)
    padded = pad_to(images, grid)
    assert padded.shape == (2, 1, grid.rows * 2, grid.columns * 2)
    assert torch.equal(padded[:, :, :9, :10], images)
    assert torch.equal(padded[:, :, 9, :10], images[:, :, 8])


# the small one


def test_training_learns_to_paint_what_was_dropped(context):
    """Images of one grey each: what was dropped is known from any patch that was kept."""
    greys = np.random.default_rng(0).integers(0, 256, (128, 1, 1, 1), dtype=np.uint8)
    images = np.broadcast_to(greys, (128, 8, 8, 1)).copy()
    train = ImageDataset(
        images, np.zeros(128, np.int64), ("grey",), tuple(str(number) for number in range(128))
    )
    trained = SmallMae(8).weights(train, context(), 0.25, "paper")
    network = SmallMae(8).load(trained, train, "cpu")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    normal = (pixels - pixels.mean()) / pixels.std(correction=0)
    order = torch.rand(128, 16, generator=torch.Generator().manual_seed(1)).argsort(1)
    with torch.no_grad():
        error = (network(normal, order[:, :12]) - network.patches(normal)) ** 2
    assert error.mean(2).gather(1, order[:, 12:]).mean() < 0.2  # the best constant has 1


def test_training_is_seeded_and_goes_on_after_an_interruption(digits, context, monkeypatch):
    few = digits.subset(np.arange(70))
    interrupted = context()

    def stop(stage, done, total):
        if (stage, done) == ("mae", 2):
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, "progress", stop)
    with pytest.raises(KeyboardInterrupt):
        SmallMae(3).weights(few, interrupted, 0.25, "paper").arrays()
    resumed, epochs = context(), []
    monkeypatch.setattr(resumed, "progress", lambda stage, done, total: epochs.append(done))
    weights = SmallMae(3).weights(few, resumed, 0.25, "paper").arrays()
    straight = SmallMae(3).weights(few, context(dataset="elsewhere"), 0.25, "paper").arrays()
    other = SmallMae(3).weights(few, context(seed=1), 0.25, "paper").arrays()
    assert epochs == [3]
    assert weights.keys() == straight.keys()
    for name in weights:
        assert (weights[name] == straight[name]).all(), name
    assert (weights["cls_token"] != other["cls_token"]).any()
    assert set(weights) == set(MaskedAutoencoder(PatchGrid.native(8, 8), 1, SMALL).state_dict())


def test_training_uses_no_global_generator(digits, context):
    few = digits.subset(np.arange(64))
    torch.manual_seed(5)
    first = SmallMae(1).weights(few, context(), 0.5, "paper")["cls_token"]
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(6)
    again = SmallMae(1).weights(few, context(dataset="again"), 0.5, "paper")["cls_token"]
    assert (first == again).all()


# the released one


def test_a_checkpoint_of_the_released_form_loads(weights):
    state = tiny_state()
    arguments = argparse.Namespace(mask_ratio=0.75, norm_pix_loss=False)
    torch.save({"model": state, "args": arguments, "epoch": 799}, weights.path)
    assert sha256_of(weights.obtain()) == hashlib.sha256(weights.path.read_bytes()).hexdigest()
    network = load_released(weights, GRID, TINY, "cpu")
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name
    images, kept = torch.randn(2, 3, 8, 8), torch.tensor([[0, 1]] * 2)
    reference = MaskedAutoencoder(GRID, 3, TINY).eval()
    reference.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(network(images, kept), reference(images, kept))


def test_a_checkpoint_in_the_older_file_format_loads(weights):
    torch.save({"model": tiny_state()}, weights.path, _use_new_zipfile_serialization=False)
    assert load_released(weights, GRID, TINY, "cpu").grid == GRID


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"no checkpoint"),
        lambda path: path.write_bytes(b""),
        lambda path: (torch.save({"model": tiny_state()}, path),
                      path.write_bytes(path.read_bytes()[:2000])),
        lambda path: torch.save({"weights": tiny_state()}, path),
        lambda path: torch.save({"model": {"cls_token": 3}}, path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"model": tiny_state(), "more": Harmful()}, path),
    ],
    ids=["text", "empty", "cut", "no-model", "no-tensors", "list", "code"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_told_in_two_lines_and_runs_nothing(write, weights, capsys):
    write(weights.path)
    with pytest.raises(DamagedFileError, match="is no readable checkpoint") as caught:
        load_released(weights, GRID, TINY, "cpu")
    assert len(str(caught.value).splitlines()) == 2
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_the_weights_of_another_network_are_refused(change, weights):
    state = tiny_state()
    if change == "missing":
        state = {name: value for name, value in state.items() if not name.startswith("decoder")}
    elif change == "surplus":
        state["head.weight"] = torch.zeros(3)
    else:
        state["cls_token"] = torch.zeros(1, 1, 24)
    torch.save({"model": state}, weights.path)
    with pytest.raises(DamagedFileError, match="holds other weights") as caught:
        load_released(weights, GRID, TINY, "cpu")
    assert len(str(caught.value).splitlines()) == 2


# weights files


def test_a_missing_file_is_fetched_pinned_and_used_again(weights, tmp_path):
    (tmp_path / "served.pth").write_bytes(b"published")
    expected = hashlib.sha256(b"published").hexdigest()
    assert sha256_of(weights.obtain()) == expected
    assert weights.path.read_bytes() == b"published"
    pin = weights.path.with_name("tiny.pth.sha256")
    assert pin.read_text() == f"{expected}  tiny.pth\n"
    (tmp_path / "served.pth").unlink()
    assert sha256_of(weights.obtain()) == expected
    assert sorted(path.name for path in weights.path.parent.iterdir()) == [
        "tiny.pth", "tiny.pth.sha256",
    ]  # fmt: skip


def test_a_file_that_is_not_the_pinned_one_is_refused(weights):
    weights.path.write_bytes(b"something")
    weights.path.with_name("tiny.pth.sha256").write_text("0" * 64 + "  tiny.pth\n")
    with pytest.raises(DamagedFileError, match="its pin says otherwise") as caught:
        weights.obtain()
    assert len(str(caught.value).splitlines()) == 2


def test_a_pin_of_the_user_judges_a_download(weights, tmp_path):
    (tmp_path / "served.pth").write_bytes(b"other than published")
    sum_of_published = hashlib.sha256(b"published").hexdigest()
    weights.path.with_name("tiny.pth.sha256").write_text(sum_of_published)
    with pytest.raises(DamagedFileError, match="pin"):
        weights.obtain()


@pytest.mark.parametrize("expected", ["published", "other"])
def test_a_download_must_have_the_expected_sum(weights, tmp_path, expected):
    (tmp_path / "served.pth").write_bytes(b"published")
    asked = replace(weights, sha256=hashlib.sha256(expected.encode()).hexdigest())
    if expected == "published":
        assert asked.obtain().read_bytes() == b"published"
        return
    with pytest.raises(DamagedFileError, match="of the published file") as caught:
        asked.obtain()
    assert len(str(caught.value).splitlines()) == 2
    assert list(weights.path.parent.iterdir()) == []
    pin = weights.path.with_name("tiny.pth.sha256")
    found = hashlib.sha256(b"published").hexdigest()
    assert found in str(caught.value)
    pin.write_text(found)  # the user's word counts more
    assert asked.obtain().read_bytes() == b"published"


def test_the_released_checkpoint_has_a_sum_and_files_that_lie_there_are_the_users(weights):
    assert len(bytes.fromhex(RELEASED.sha256)) == 32
    assert "authors tell no sum" in RELEASED.sha256_from
    own = replace(weights, sha256=RELEASED.sha256)
    own.path.write_bytes(b"of the user's own")
    assert own.obtain() == own.path


def test_without_a_network_the_error_has_two_lines_and_leaves_nothing(weights):
    with pytest.raises(UsageError, match="is missing") as caught:
        weights.obtain()
    first, second = str(caught.value).splitlines()
    assert "cannot be fetched" in first
    assert "BENCH_WEIGHTS" in second
    assert list(weights.path.parent.iterdir()) == []
    weights.path.parent.rmdir()
    with pytest.raises(UsageError, match="is missing"):
        weights.obtain()
    assert not weights.path.parent.exists()


class _Cut(http.server.SimpleHTTPRequestHandler):
    """Announces more bytes than it sends."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")

    def log_message(self, *arguments):
        pass


def test_a_download_that_breaks_off_leaves_no_file(weights):
    with http.server.HTTPServer(("127.0.0.1", 0), _Cut) as server:
        threading.Thread(target=partial(server.serve_forever, 0.05), daemon=True).start()
        broken = WeightsFile("tiny.pth", f"http://127.0.0.1:{server.server_port}/tiny.pth")
        try:
            with pytest.raises(UsageError, match="cannot be fetched"):
                broken.obtain()
        finally:
            server.shutdown()
    assert list(weights.path.parent.iterdir()) == []


def test_the_folder_is_the_users_cache_unless_named(weights, monkeypatch):
    monkeypatch.delenv("BENCH_WEIGHTS")
    assert weights.path.parts[-4:] == (".cache", "bench", "weights", "tiny.pth")
