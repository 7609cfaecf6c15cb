"""A forked process begins anew, and leaves alone what is its parent's."""

from __future__ import annotations

from tests.support.real_servers import Server
from tests.support.sync_programs import run_clean


def test_a_fork_before_the_room_is_opened(valkey: Server) -> None:
    program = """
    def child():
        assert episode("s1", 1) == Episode("s1", 1)
        print("child", len(record.loads), flush=True)
    print(in_child(child), flush=True)
    print(episode("s1", 1) == Episode("s1", 1), len(record.loads))
    """
    assert run_clean(valkey.address, program) == ["child 1", "0", "True 0"]


def test_a_fork_while_the_room_is_open_leaves_the_parent_its_pushes(valkey: Server) -> None:
    program = """
    assert episode("s1", 1).version == 1
    def child():
        record.version = 2
        assert episode("s1", 1).version == 1
        episode.invalidate("s1", 1)
        assert episode("s1", 1).version == 2
        assert count.increment(name="a") == 1
    for _ in range(3):
        print(in_child(child))
        end = time.monotonic() + 20
        while episode("s1", 1).version != 2 and time.monotonic() < end:
            time.sleep(0.01)
        print(episode("s1", 1).version, lost())
        episode.invalidate("s1", 1)
        assert episode("s1", 1).version == 1
        count.delete("a")
    """
    assert run_clean(valkey.address, program) == ["0", "2 0"] * 3


def test_a_fork_in_the_middle_of_a_call_of_another_thread(valkey: Server) -> None:
    program = """
    loading, go = threading.Event(), threading.Event()
    record.before = lambda: (loading.set(), go.wait())
    got = []
    thread = threading.Thread(target=lambda: got.append(episode("s1", 1)))
    thread.start()
    loading.wait()
    def child():
        record.before = lambda: None
        assert episode("s1", 2) == Episode("s1", 2)
        with room.changing(episode.of("s1", 2), episode.group("s2")):
            pass
        print(len(room._called.keys), len(room._called.wide), flush=True)
    print(in_child(child), flush=True)
    go.set()
    thread.join()
    print(got == [Episode("s1", 1)], lost())
    """
    assert run_clean(valkey.address, program) == ["0 0", "0", "True 0"]


def test_a_fork_while_another_thread_counts_near_hits(valkey: Server) -> None:
    program = """
    episode("s1", 1)
    hits = episode.cache._hits
    holding, go = threading.Event(), threading.Event()
    def hold():
        episode("s1", 1)
        with hits._lock:
            holding.set()
            go.wait()
    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    pid = os.fork()
    if not pid:
        assert episode("s1", 1) == Episode("s1", 1)
        os._exit(7)
    end = time.monotonic() + 20
    while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(ended[1]))
    go.set()
    thread.join()
    print(room.counters.reads[EPISODE.name, "near"])
    """
    assert run_clean(valkey.address, program) == ["7", "1"]


def test_a_child_of_a_child_has_a_room_of_its_own(valkey: Server) -> None:
    program = """
    assert count.increment(name="a") == 1
    def grandchild():
        assert count.increment(name="a") == 3
        assert episode("s1", 1) == Episode("s1", 1)
    def child():
        assert count.increment(name="a") == 2
        assert in_child(grandchild) == 0
        assert count.increment(name="a") == 4
    print(in_child(child))
    print(count.increment(name="a"), lost())
    """
    assert run_clean(valkey.address, program) == ["0", "5 0"]


def test_workers_forked_from_a_program_that_has_loaded_all(valkey: Server) -> None:
    program = """
    assert episode("s1", 1).version == 1
    live, token = room.sessions.start(user_id="u1")
    def worker():
        def serve():
            for number in range(20):
                assert episode("s1", number) is None or episode("s1", number).number == number
                assert room.sessions.load(token).session_id == live.session_id
                count.increment(name="requests")
        with ThreadPoolExecutor(4) as pool:
            for served in [pool.submit(serve) for _ in range(4)]:
                served.result()
    children = []
    for _ in range(2):
        pid = os.fork()
        if not pid:
            worker()
            sys.exit(0)
        children.append(pid)
    print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
    print(count.get("requests"), room.sessions.load(token).session_id == live.session_id, lost())
    """
    assert run_clean(valkey.address, program) == ["[0, 0]", "160 True 0"]


def test_children_of_multiprocessing_have_rooms_of_their_own(valkey: Server) -> None:
    program = """
    import multiprocessing
    def child(number):
        assert episode("s1", number) == Episode("s1", number)
        return count.increment(name="a")
    room.open()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sorted(pool.map(child, range(4))))
        pool.close()
        pool.join()
    print(count.increment(name="a"), lost())
    """
    assert run_clean(valkey.address, program) == ["[1, 2, 3, 4]", "5 0"]


def test_a_fork_inside_a_loader_ends_its_call_there(valkey: Server) -> None:
    program = """
    def load(show_id, number):
        if os.fork():
            os.wait()
            return Episode(show_id, number)
        return Episode(show_id, number, 99)
    forking = room.cached(type(EPISODE)("forking:{show_id}:{number}", Episode, parts={"number": int},
                                        ttl=EPISODE.lifetime.ttl))(load)
    parent = os.getpid()
    try:
        print(forking("s1", 1).version, lost())
    except Exception as error:
        assert os.getpid() != parent
        print(type(error).__name__, episode("s1", 1) == Episode("s1", 1), flush=True)
    """
    assert run_clean(valkey.address, program) == ["RoomElsewhere True", "1 0"]


def test_a_child_counts_from_nothing(valkey: Server) -> None:
    program = """
    for _ in range(10):
        episode("s1", 1)
    def child():
        episode("s1", 1)
        print(sum(room.counters.reads.values()), flush=True)
    in_child(child)
    print(sum(room.counters.reads.values()))
    """
    assert run_clean(valkey.address, program) == ["1", "10"]


def test_a_child_of_an_embedded_room_leaves_the_server_running() -> None:
    program = """
    assert count.increment(name="a") == 1
    def child():
        pass
    print(in_child(child), count.increment(name="a"), lost())
    """
    assert run_clean("", program) == ["0 2 0"]
