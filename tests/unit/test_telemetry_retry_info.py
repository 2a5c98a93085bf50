from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from broadaxe.telemetry.retry_info import retry_info


def status(*details) -> bytes:
    packed = []
    for detail in details:
        one = Any()
        one.Pack(detail)
        packed.append(one)
    return Status(code=8, message="slow down", details=packed).SerializeToString()


def test_retry_info_present_gives_seconds() -> None:
    info = RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    assert retry_info(status(DebugInfo(detail="x"), info)) == 2.5


def test_retry_info_without_delay_is_zero() -> None:
    assert retry_info(status(RetryInfo())) == 0.0


def test_retry_info_absent_is_none() -> None:
    assert retry_info(status(DebugInfo())) is None
    assert retry_info(b"") is None


def test_retry_info_absurd_delay_is_capped() -> None:
    assert retry_info(status(RetryInfo(retry_delay=Duration(seconds=-1)))) == 3600.0


@given(st.binary(max_size=200))
def test_retry_info_any_bytes_never_raise(data: bytes) -> None:
    assert retry_info(data) is None or retry_info(data) >= 0
