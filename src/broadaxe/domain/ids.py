"""Typed identifiers. The tenant always comes from the token, as a `TenantId`."""

from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", UUID)
WorkflowId = NewType("WorkflowId", UUID)
VersionId = NewType("VersionId", UUID)
StepId = NewType("StepId", UUID)
RunId = NewType("RunId", UUID)
TaskId = NewType("TaskId", UUID)
WorkerId = NewType("WorkerId", UUID)
EngineId = NewType("EngineId", UUID)
