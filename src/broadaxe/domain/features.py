"""What a registered workflow would need that this engine cannot run yet.

Such a workflow registers all the same; starting a run of it is refused with the sentence made here. Cron
triggers are no obstacle: they are kept, and runs started otherwise work.
"""

from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition


def missing_feature(definition: WorkflowDefinition) -> str | None:
    """One sentence that names the workflow and what is missing, or None if it can be run."""
    if definition.concurrency:
        what = "has a concurrency limit: concurrency limits"
    else:
        what = ""
        for step in (*definition.steps, *((definition.on_failure,) if definition.on_failure else ())):
            missing = _missing_of_step(step)
            if missing is not None:
                what = f'has the task "{step.name}" with {missing}'
                break
        if not what:
            return None
    return f'workflow "{definition.name}" {what} are not there yet'


def _missing_of_step(step: StepDefinition) -> str | None:
    if step.durable:
        return "durable execution: durable tasks"
    if step.batch is not None:
        return "batching: batch tasks"
    if step.concurrency:
        return "a concurrency limit: concurrency limits"
    if step.rate_limits:
        return "a rate limit: rate limits"
    return None
