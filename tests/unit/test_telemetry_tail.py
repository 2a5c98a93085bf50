from broadaxe.clock import SystemClock
from broadaxe.telemetry import names as T
from broadaxe.telemetry.recording import Recording
from broadaxe.telemetry.tail import TraceTail


class SteppedClock(SystemClock):
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def test_due_trace_rests_only_after_the_quiet_time_and_once() -> None:
    clock = SteppedClock()
    tail = TraceTail(clock, quiet=1.0)
    recording = Recording()
    root = recording.tracer.start(T.SPAN_RUN)
    recording.tracer.start(T.SPAN_FLUSH, root).end()
    tail.add(recording.spans)
    clock.now_s = 0.9
    assert tail.due() == []
    root.end()
    tail.add(recording.spans)
    clock.now_s = 1.5
    assert tail.due() == []
    clock.now_s = 2.0
    (trace,) = tail.due()
    assert [span.name for span in trace] == ["hatchet.run/flush", "hatchet.run/run"]
    assert tail.due() == []
    tail.add(recording.spans)
    clock.now_s = 9.0
    assert tail.due() == []


def test_add_beyond_the_limit_forgets_the_oldest_trace() -> None:
    tail = TraceTail(SteppedClock(), keep=2)
    recording = Recording()
    for _ in range(3):
        recording.tracer.start(T.SPAN_FLUSH).end()
    tail.add(recording.spans)
    assert tail.spans() == recording.spans[1:]
