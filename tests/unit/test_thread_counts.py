"""What threads count for themselves: nothing is lost or counted twice, and threads that have ended leave little."""

from __future__ import annotations

import threading

from greenroom.sync import thread_counts
from greenroom.sync.thread_counts import ThreadCount


def count_in_threads(count: ThreadCount, threads: int) -> None:
    def add() -> None:
        count.local.cell.number += 1

    for _ in range(threads):
        one = threading.Thread(target=add)
        one.start()
        one.join()


def test_threads_that_have_ended_leave_no_number_each() -> None:
    count, threads = ThreadCount(), 2 * thread_counts._MOST_LEFT
    count_in_threads(count, threads)
    assert len(count._left) <= thread_counts._MOST_LEFT + 1
    assert count.take() == threads
    assert count.take() == 0


def test_a_cell_that_is_taken_as_it_ends_is_counted_once() -> None:
    count = ThreadCount()
    cell = count.new_cell()
    cell.number += 3
    cell.__del__()  # its thread has ended, and it is still found
    assert count.take() == 3
    del cell
    assert count.take() == 0
