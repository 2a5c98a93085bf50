// A worker with the official TypeScript SDK that notes each start of a task in the file NOTES, as
// tests/faults/sdk_worker.py does. Tasks are told by their input what to do: fail once, or take some time.
"use strict";

const { appendFileSync } = require("node:fs");
const { setTimeout } = require("node:timers/promises");
const { HatchetClient } = require("@hatchet-dev/typescript-sdk/v1");

const hatchet = HatchetClient.init({ log_level: "INFO" });

const storm = hatchet.task({
  name: "storm",
  retries: 3,
  executionTimeout: "10s",
  fn: async (job, ctx) => {
    const attempt = ctx.retryCount();
    const started = { task: ctx.taskRunExternalId(), attempt, worker: ctx.worker.id() };
    appendFileSync(process.env.NOTES, `${JSON.stringify(started)}\n`);
    if (job.seconds) await setTimeout(job.seconds * 1000);
    if (job.fail_once && attempt === 0) throw new Error("fails once, as it was told");
    return { number: job.number, attempt };
  },
});

async function main() {
  const slots = Number(process.env.SLOTS);
  const worker = await hatchet.worker(process.env.WORKER_NAME, { workflows: [storm], slots });
  await worker.start();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
