"""Reading a phone number in each common Australian spelling, against `phonenumbers`, in one process.

    python benchmarks/bench_phones.py

The rival parses (region AU), validates and writes E.164. Both are warm and take turns; a rate is the best of
the rounds. The numbers are ACMA's for use in fiction.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import timeit
from collections.abc import Callable

from taaxdog_datamig.identifiers import phone

SPELLINGS = [
    "0491570006",
    "0491 570 006",
    "0491-570-006",
    "(0491) 570 006",
    "04 9157 0006",
    "0491.570.006",
    "61 491 570 006",
    "+61 491 570 006",
    "+61 (0)491 570 006",
    "0011 61 491 570 006",
    "+61491570006",
    "491 570 006",
    " 0491 570 006 ",
    "0255501234",
    "(02) 5550 1234",
    "03 5550 1234",
    "07-5550-1234",
    "+61 8 5550 1234",
    "13 11 66",
    "1300 975 707",
    "1800 160 401",
]


def peak_mb() -> float:
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def first_use() -> tuple[float, float]:
    """Seconds and memory (MB) of the first number read: `phonenumbers` imported, the pattern built."""
    before = peak_mb()
    seconds = timeit.timeit(lambda: phone.normalise(SPELLINGS[0]), number=1)
    return seconds, peak_mb() - before


def microseconds(calls: int, rounds: int, *functions: Callable[[], object]) -> list[float]:
    """The best round of each function, in microseconds a call; the rounds of all take turns."""
    timers = [timeit.Timer(function) for function in functions]
    turns = [[timer.timeit(calls) for timer in timers] for _ in range(rounds)]
    return [min(turn[place] for turn in turns) / calls * 1e6 for place in range(len(timers))]


def main(calls: int, rounds: int) -> None:
    seconds, megabytes = first_use()
    import phonenumbers  # noqa: PLC0415 - first_use measures its import

    def rival(text: str) -> str | None:
        number = phonenumbers.parse(text, "AU")
        if not phonenumbers.is_valid_number(number):
            return None
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    print(
        f"first number {seconds * 1000:.0f} ms, {megabytes:.1f} MB; phonenumbers {phonenumbers.__version__}"
    )
    print(f"{'us a number':22} {'normalise':>10} {'classify':>10} {'rival':>10} {'ratio':>6} {'ratio':>6}")
    rows = []
    for text in SPELLINGS:
        row = microseconds(
            calls,
            rounds,
            lambda text=text: phone.normalise(text),
            lambda text=text: phone.classify(text),
            lambda text=text: rival(text),
        )
        rows.append(row)
        show(repr(text), row)
    show("mean", [statistics.fmean(column) for column in zip(*rows, strict=True)])
    print(
        f"lowest ratio {min(row[2] / row[0] for row in rows):.1f}, with classify "
        f"{min(row[2] / row[1] for row in rows):.1f}"
    )


def show(name: str, row: list[float]) -> None:
    ours, classified, theirs = row
    print(
        f"{name:22} {ours:>10.2f} {classified:>10.2f} {theirs:>10.2f}"
        f" {theirs / ours:>6.1f} {theirs / classified:>6.1f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    main(arguments.calls, arguments.rounds)
