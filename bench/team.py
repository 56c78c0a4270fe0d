"""The processes that train one network together, and who takes what; no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """What of a step's batch goes through the network at once.

    Parameters
    ----------
    number : int
        Which piece of the batch, counted from 0 over all processes.
    images : slice
        Its places in the batch; none where a batch has fewer images than pieces.
    share : float
        Its share of the batch's images; the step's loss is the mean of the pieces' mean losses,
        weighted so.
    """

    number: int
    images: slice
    share: float


@dataclass(frozen=True)
class Team:
    """One process among those that train a network together.

    Parameters
    ----------
    rank : int
        The process's number, from 0.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def pieces(self, count: int, shards: int = 1) -> list[Piece]:
        """Return the pieces of a batch that this process takes.

        Parameters
        ----------
        count : int
            Images of the batch.
        shards : int
            Pieces that the protocol divides a batch into, a multiple of the processes; 1 for one
            piece a process.
        """
        total = max(shards, self.size)
        each = total // self.size
        numbers = range(self.rank * each, (self.rank + 1) * each)
        cuts = [(number, part_of(count, number, total)) for number in numbers]
        return [Piece(number, cut, (cut.stop - cut.start) / count) for number, cut in cuts]

    def part(self, count: int) -> slice:
        """Return the places, among ``count`` images to be tested, of those of this process."""
        return part_of(count, self.rank, self.size)


def part_of(count: int, number: int, parts: int) -> slice:
    """Return the places of one of several parts that differ by one image at most."""
    size, larger = divmod(count, parts)
    start = number * size + min(number, larger)
    return slice(start, start + size + (number < larger))


def threads_of_each(threads: int, processes: int) -> int:
    """Return the CPU threads of each of the processes that share some."""
    return max(1, threads // processes)


ALONE = Team()
