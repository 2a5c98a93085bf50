"""Generated from protos/v1/shared/condition.proto by `make protos`; do not edit."""

from broadaxe.grpc_api.wire import pool as _pool

DESCRIPTOR = _pool.load(
    b'\n\x19v1/shared/condition.proto\x12\x02v1\x1a\x1fgoogle/protobuf/timestamp.proto"t\n\x12BaseMatchCon'
    b'dition\x12\x19\n\x11readable_data_key\x18\x01 \x01(\t\x12\x1a\n\x06action\x18\x02 \x01(\x0e2\n.v1.Action\x12\x13\n\x0bor_group_id\x18\x03 \x01'
    b'(\t\x12\x12\n\nexpression\x18\x04 \x01(\t"`\n\x1cParentOverrideMatchCondition\x12$\n\x04base\x18\x01 \x01(\x0b2\x16.v1.BaseMa'
    b'tchCondition\x12\x1a\n\x12parent_readable_id\x18\x02 \x01(\t"N\n\x13SleepMatchCondition\x12$\n\x04base\x18\x01 \x01(\x0b2\x16.'
    b'v1.BaseMatchCondition\x12\x11\n\tsleep_for\x18\x02 \x01(\t"\xdb\x01\n\x17UserEventMatchCondition\x12$\n\x04base\x18\x01 \x01'
    b'(\x0b2\x16.v1.BaseMatchCondition\x12\x16\n\x0euser_event_key\x18\x02 \x01(\t\x12\x18\n\x0bevent_scope\x18\x03 \x01(\tH\x00\x88\x01\x01\x12>\n\x15'
    b'consider_events_since\x18\x04 \x01(\x0b2\x1a.google.protobuf.TimestampH\x01\x88\x01\x01B\x0e\n\x0c_event_scopeB\x18\n\x16'
    b'_consider_events_since"\xc5\x01\n\x0eTaskConditions\x12D\n\x1aparent_override_conditions\x18\x01 \x03(\x0b2 .'
    b'v1.ParentOverrideMatchCondition\x121\n\x10sleep_conditions\x18\x02 \x03(\x0b2\x17.v1.SleepMatchConditi'
    b'on\x12:\n\x15user_event_conditions\x18\x03 \x03(\x0b2\x1b.v1.UserEventMatchCondition"\x8f\x01\n\x1eDurableEventL'
    b'istenerConditions\x121\n\x10sleep_conditions\x18\x01 \x03(\x0b2\x17.v1.SleepMatchCondition\x12:\n\x15user_eve'
    b'nt_conditions\x18\x02 \x03(\x0b2\x1b.v1.UserEventMatchCondition*5\n\x06Action\x12\n\n\x06CREATE\x10\x00\x12\t\n\x05QUEUE\x10'
    b'\x01\x12\n\n\x06CANCEL\x10\x02\x12\x08\n\x04SKIP\x10\x03b\x06proto3',
    globals(),
)
