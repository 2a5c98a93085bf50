// One worker and its client in one process, with the official TypeScript SDK. Each check prints a JSON line.
// The SDK is found by NODE_PATH; the server by HATCHET_CLIENT_*.
"use strict";

const { setTimeout } = require("node:timers/promises");
const { HatchetClient, NonRetryableError, Or } = require("@hatchet-dev/typescript-sdk/v1");

const hatchet = HatchetClient.init({ log_level: "WARN" });

// This SDK tries again whatever the answer was, for 13 s; here it asks once.
const once = HatchetClient.init({ log_level: "OFF", retrier: { maxAttempts: 1 } });

// What a task says to the check that waits for it: name -> promise.
const signals = new Map();
function signal(name) {
  if (!signals.has(name)) {
    const one = {};
    one.promise = new Promise((resolve) => (one.resolve = resolve));
    signals.set(name, one);
  }
  return signals.get(name);
}

const echo = hatchet.task({
  name: "ts-echo",
  fn: (input, ctx) => ({
    input,
    metadata: ctx.additionalMetadata(),
    retry: ctx.retryCount(),
    index: ctx.childIndex() ?? null,
    key: ctx.childKey() ?? null,
  }),
});

const flaky = hatchet.task({
  name: "ts-flaky",
  retries: 3,
  fn: (input, ctx) => {
    if (ctx.retryCount() < 2) throw new Error(`attempt ${ctx.retryCount()} fails`);
    return { retry: ctx.retryCount() };
  },
});

const hopeless = hatchet.task({
  name: "ts-hopeless",
  retries: 3,
  fn: () => {
    throw new NonRetryableError("never again: naïve 日本");
  },
});

const parent = hatchet.task({
  name: "ts-parent",
  fn: async (input, ctx) => {
    const one = await echo.run({ from: "parent" }, { additionalMetadata: { own: "child" } });
    const many = await ctx.bulkRunChildren([
      { workflow: echo, input: { number: 1 } },
      { workflow: echo, input: { number: 2 } },
    ]);
    // Only one is waited for: this SDK answers one waiter a run.
    const first = await ctx.runNoWaitChild(echo, { number: 3 }, { key: "same" });
    const second = await ctx.runNoWaitChild(echo, { number: 4 }, { key: "same" });
    const ids = [await first.getWorkflowRunId(), await second.getWorkflowRunId()];
    return { one, many, same: ids[0] === ids[1], keyed: await second.output };
  },
});

const waits = hatchet.task({
  name: "ts-waits",
  retries: 1,
  executionTimeout: "60s",
  fn: async (input, ctx) => {
    signal("running").resolve(ctx.workflowRunId());
    await new Promise((resolve) => ctx.abortController.signal.addEventListener("abort", resolve));
    signal("aborted").resolve(ctx.cancelled);
    ctx.abortController.signal.throwIfAborted();
    return {};
  },
});

const slow = hatchet.task({
  name: "ts-slow",
  executionTimeout: "1s",
  fn: async (input, ctx) => {
    await new Promise((resolve) => ctx.abortController.signal.addEventListener("abort", resolve));
    ctx.abortController.signal.throwIfAborted();
    return {};
  },
});

const streams = hatchet.task({
  name: "ts-streams",
  fn: async (input, ctx) => {
    signal("streaming").resolve();
    // Dots until the reader says that it sees them: then it gets everything that follows.
    while (!signals.has("seen")) {
      await ctx.putStream(".");
      await setTimeout(20);
    }
    for (let number = 0; number < 10; number++) await ctx.putStream(`${number};`);
    return {};
  },
});

const onEvent = hatchet.task({
  name: "ts-on-event",
  onEvents: ["ts:*:made"],
  fn: (input, ctx) => {
    signal("event").resolve({ input, metadata: ctx.additionalMetadata() });
    return {};
  },
});

const durable = hatchet.durableTask({
  name: "ts-durable",
  fn: async (input, ctx) => {
    await ctx.sleepFor("1s");
    return {};
  },
});

const dag = hatchet.workflow({ name: "ts-dag" });
const first = dag.task({ name: "first", fn: (input) => ({ word: input.word, size: input.word.length }) });
const skipped = dag.task({
  name: "skipped",
  parents: [first],
  skipIf: [{ parent: first, expression: "output.size < 100" }],
  fn: () => ({ ran: true }),
});
const napped = dag.task({
  name: "napped",
  parents: [first],
  waitFor: Or({ sleepFor: "1s", readableDataKey: "nap" }, { eventKey: "ts:never" }),
  fn: async (input, ctx) => ({ triggers: ctx.triggers(), size: (await ctx.parentOutput(first)).size }),
});
dag.task({
  name: "last",
  parents: [first, skipped, napped],
  fn: async (input, ctx) => ({
    first: await ctx.parentOutput(first),
    skipped: await ctx.parentOutput(skipped),
    size: (await ctx.parentOutput("napped")).size,
    own: ctx.workflowRunId() !== ctx.taskRunExternalId(),
  }),
});

const broken = hatchet.workflow({ name: "ts-broken" });
const breaks = broken.task({
  name: "breaks",
  fn: () => {
    throw new NonRetryableError("it broke: naïve 日本");
  },
});
broken.task({ name: "behind", parents: [breaks], fn: () => ({}) });
broken.onFailure({
  name: "ts-mend",
  fn: (input, ctx) => {
    signal("mended").resolve(ctx.errors());
    return {};
  },
});

async function failureOf(promise) {
  try {
    await promise;
  } catch (error) {
    return Array.isArray(error) ? error.join("\n") : String(error.message ?? error);
  }
  throw new Error("it did not fail");
}

async function finished(id) {
  for (;;) {
    const details = await hatchet.runs.getDetails(id);
    if (details.done) return details;
  }
}

const checks = {
  async run() {
    return echo.run({ word: "naïve 日本 💥" }, { additionalMetadata: { who: "me" } });
  },
  async many() {
    return echo.run([{ number: 1 }, { number: 2 }, { number: 3 }]);
  },
  async retry() {
    return flaky.run({});
  },
  async failure() {
    return failureOf(hopeless.run({}));
  },
  async children() {
    return parent.run({}, { additionalMetadata: { from: "parent" } });
  },
  async cancel() {
    const reference = await waits.runNoWait({});
    const id = await signal("running").promise;
    await hatchet.runs.cancel({ ids: [id] });
    const aborted = await signal("aborted").promise;
    const details = await finished(id);
    return { same: id === (await reference.getWorkflowRunId()), aborted, status: details.status };
  },
  async timeout() {
    return failureOf(slow.run({}));
  },
  async replay() {
    const reference = await echo.runNoWait({ word: "again" });
    const id = await reference.getWorkflowRunId();
    await reference.output;
    await hatchet.runs.replay({ ids: [id] });
    for (;;) {
      const details = await finished(id);
      const output = details.taskRuns["ts-echo"].output;
      if (output && output.retry === 1) return output;
    }
  },
  async stream() {
    const reference = await streams.runNoWait({});
    const id = await reference.getWorkflowRunId();
    await signal("streaming").promise;
    let text = "";
    for await (const chunk of hatchet.runs.subscribeToStream(id)) {
      signal("seen");
      text += chunk;
    }
    return text.replaceAll(".", "");
  },
  async unknown() {
    return failureOf(once.runNoWait("ts-no-such-workflow", {}, {}));
  },
  async durable() {
    return failureOf(once.runNoWait("ts-durable", {}, {}));
  },
  async dag() {
    const reference = await dag.runNoWait({ word: "naïve" });
    const output = await reference.output;
    const details = await finished(await reference.getWorkflowRunId());
    return { output, status: details.status, tasks: Object.keys(details.taskRuns).sort() };
  },
  async onFailure() {
    const reference = await broken.runNoWait({});
    const failure = await failureOf(reference.output);
    const errors = await signal("mended").promise;
    const details = await finished(await reference.getWorkflowRunId());
    const states = Object.entries(details.taskRuns).map(([name, task]) => [name, task.status]);
    return { failure, errors, status: details.status, states: Object.fromEntries(states) };
  },
  async event() {
    const pushed = await hatchet.events.push("ts:it:made", { word: "naïve" }, { additionalMetadata: { a: "b" } });
    const started = await signal("event").promise;
    return { ...started, same: started.metadata.hatchet__event_id === pushed.eventId };
  },
  async schedules() {
    const cron = await echo.cron("ts-cron", "0 0 1 1 *", { by: "cron" });
    const crons = await hatchet.crons.list({ workflow: echo });
    await hatchet.crons.delete(cron);
    const planned = await echo.schedule(new Date(Date.now() - 1000), { by: "plan" });
    let found;
    do {
      found = await hatchet.scheduled.get(planned);
    } while (found.workflowRunStatus !== "SUCCEEDED");
    const run = await hatchet.runs.get(found.workflowRunId);
    return {
      crons: crons.rows.map((one) => [one.name, one.cron, one.input]),
      left: (await hatchet.crons.list({ workflow: echo })).rows?.length ?? 0,
      output: run.run.output,
    };
  },
  async reads() {
    const listed = await hatchet.runs.list({ workflowNames: ["ts-flaky"], onlyTasks: true });
    const run = await hatchet.runs.get(listed.rows[0].metadata.id);
    const workers = await hatchet.workers.list();
    return {
      status: run.run.status,
      attempt: run.tasks[0].attempt,
      workers: workers.rows.filter((one) => one.name === "ts-worker").map((one) => one.status),
    };
  },
};

async function main() {
  const workflows = [echo, flaky, hopeless, parent, waits, slow, streams, onEvent, durable, dag, broken];
  const worker = await hatchet.worker("ts-worker", { workflows, slots: 20 });
  worker.start().catch((error) => {
    console.log(JSON.stringify({ check: "worker", error: String(error) }));
    process.exit(1);
  });
  await worker.waitUntilReady?.(20_000);
  for (const [check, body] of Object.entries(checks)) {
    const begun = Date.now();
    try {
      console.log(JSON.stringify({ check, value: await body(), ms: Date.now() - begun }));
    } catch (error) {
      console.log(JSON.stringify({ check, error: String(error?.stack ?? error), ms: Date.now() - begun }));
    }
  }
  await worker.stop();
  console.log(JSON.stringify({ check: "stopped", value: true }));
  process.exit(0);
}

main();
