"""What a registered workflow would need that this engine cannot run yet.

Such a workflow registers all the same; starting a run of it is refused with the sentence made here. Cron
triggers are no obstacle: they are kept, and runs started otherwise work.
"""

from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition


def missing_feature(definition: WorkflowDefinition) -> str | None:
    """One sentence that names the workflow and what is missing, or None if it can be run."""
    if len(definition.steps) != 1:
        what = f"has {len(definition.steps)} tasks: workflows of several tasks"
    elif definition.on_failure is not None:
        what = f'has the on-failure task "{definition.on_failure.name}": on-failure tasks'
    elif definition.sticky is not None:
        what = "is sticky: sticky workflows"
    elif definition.concurrency:
        what = "has a concurrency limit: concurrency limits"
    else:
        missing = _missing_of_step(definition.steps[0])
        if missing is None:
            return None
        what = f'has the task "{definition.steps[0].name}" with {missing}'
    return f'workflow "{definition.name}" {what} are not there yet'


def _missing_of_step(step: StepDefinition) -> str | None:
    if step.durable:
        return "durable execution: durable tasks"
    if step.batch is not None:
        return "batching: batch tasks"
    if step.conditions:
        return "conditions: conditions"
    if step.concurrency:
        return "a concurrency limit: concurrency limits"
    if step.rate_limits:
        return "a rate limit: rate limits"
    if step.parents:
        return "parents: workflows of several tasks"
    return None
