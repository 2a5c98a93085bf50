// gRPC's interop cases with grpc-js: `node client.js PORT PLAIN|COMPRESSED` prints a JSON object a case,
// {"case": name} with "error" when the server was wrong. The service's description comes on standard input.
'use strict';

const assert = require('node:assert');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const REQUEST_SIZES = [27182, 8, 1828, 45904];
const RESPONSE_SIZES = [31415, 9, 2653, 58979];
const LARGE_REQUEST = 271828;
const LARGE_RESPONSE = 314159;
const SPECIAL = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
const INITIAL = 'x-grpc-test-echo-initial';
const TRAILING = 'x-grpc-test-echo-trailing-bin';

const payload = (size) => ({ body: Buffer.alloc(size) });
const wanted = (sizes, more = {}) => ({
  response_parameters: sizes.map((size) => ({ size, interval_us: more.interval_us ?? 0 })),
  ...(more.payload === undefined ? {} : { payload: payload(more.payload) }),
  ...(more.status === undefined ? {} : { response_status: more.status }),
});
const large = () => ({ response_size: LARGE_RESPONSE, payload: payload(LARGE_REQUEST) });

// The end of a call: its answers, metadata and status.
function ended(call, answer) {
  return new Promise((resolve) => {
    const seen = { answers: [], initial: null };
    call.on('metadata', (metadata) => { seen.initial = metadata; });
    call.on('status', (status) => resolve({ ...seen, status }));
    call.on('error', () => {}); // the status tells
    if (answer) call.on('data', (data) => { seen.answers.push(data); answer(data, seen.answers.length); });
  });
}

function unary(client, method, request, metadata = new grpc.Metadata(), options = {}) {
  let answer = null;
  const call = client[method](request, metadata, options, (_error, data) => { answer = data; });
  return ended(call).then((end) => ({ ...end, answer }));
}

const ok = (end) => assert.strictEqual(end.status.code, grpc.status.OK, end.status.details);
const sizes = (end) => end.answers.map((answer) => answer.payload.body.length);

const plain = {
  async empty_unary({ test }) {
    const end = await unary(test, 'EmptyCall', {});
    ok(end);
    assert.deepStrictEqual(end.answer, {});
  },
  async large_unary({ test }) {
    const end = await unary(test, 'UnaryCall', large());
    ok(end);
    assert.ok(end.answer.payload.body.equals(Buffer.alloc(LARGE_RESPONSE)));
  },
  async client_streaming({ test }) {
    let answer = null;
    const call = test.StreamingInputCall((_error, data) => { answer = data; });
    const end = ended(call);
    for (const size of REQUEST_SIZES) call.write({ payload: payload(size) });
    call.end();
    ok(await end);
    assert.strictEqual(answer.aggregated_payload_size, REQUEST_SIZES.reduce((a, b) => a + b));
  },
  async server_streaming({ test }) {
    const end = await ended(test.StreamingOutputCall(wanted(RESPONSE_SIZES)), () => {});
    ok(end);
    assert.deepStrictEqual(sizes(end), RESPONSE_SIZES);
  },
  async ping_pong({ test }) {
    const call = test.FullDuplexCall();
    const send = (number) => call.write(wanted([RESPONSE_SIZES[number]], { payload: REQUEST_SIZES[number] }));
    const end = ended(call, (_data, count) => (count < 4 ? send(count) : call.end()));
    send(0);
    const seen = await end;
    ok(seen);
    assert.deepStrictEqual(sizes(seen), RESPONSE_SIZES);
  },
  async empty_stream({ test }) {
    const call = test.FullDuplexCall();
    const end = ended(call, () => {});
    call.end();
    const seen = await end;
    ok(seen);
    assert.deepStrictEqual(seen.answers, []);
  },
  async custom_metadata({ test }) {
    const metadata = () => {
      const made = new grpc.Metadata();
      made.set(INITIAL, 'test_initial_metadata_value');
      made.set(TRAILING, Buffer.from([0xab, 0xab, 0xab]));
      return made;
    };
    const call = test.FullDuplexCall(metadata());
    const duplex = ended(call, () => {});
    call.write(wanted([LARGE_RESPONSE], { payload: LARGE_REQUEST }));
    call.end();
    for (const end of [await unary(test, 'UnaryCall', large(), metadata()), await duplex]) {
      ok(end);
      assert.deepStrictEqual(end.initial.get(INITIAL), ['test_initial_metadata_value']);
      assert.deepStrictEqual(end.status.metadata.get(TRAILING), [Buffer.from([0xab, 0xab, 0xab])]);
    }
  },
  async status_code_and_message({ test }) {
    const status = { code: 2, message: 'test status message' };
    const call = test.FullDuplexCall();
    const duplex = ended(call, () => {});
    call.write(wanted([], { status }));
    call.end();
    for (const end of [await unary(test, 'UnaryCall', { response_status: status }), await duplex]) {
      assert.strictEqual(end.status.code, 2);
      assert.strictEqual(end.status.details, 'test status message');
    }
  },
  async special_status_message({ test }) {
    const end = await unary(test, 'UnaryCall', { response_status: { code: 2, message: SPECIAL } });
    assert.strictEqual(end.status.code, 2);
    assert.strictEqual(end.status.details, SPECIAL);
  },
  async unimplemented_method({ test }) {
    const end = await unary(test, 'UnimplementedCall', {});
    assert.strictEqual(end.status.code, grpc.status.UNIMPLEMENTED);
  },
  async unimplemented_service({ other }) {
    const end = await unary(other, 'UnimplementedCall', {});
    assert.strictEqual(end.status.code, grpc.status.UNIMPLEMENTED);
  },
  async cancel_after_begin({ test }) {
    const call = test.StreamingInputCall(() => {});
    const end = ended(call);
    call.cancel();
    assert.strictEqual((await end).status.code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response({ test }) {
    const call = test.FullDuplexCall();
    const end = ended(call, () => call.cancel());
    call.write(wanted([31415], { payload: 27182 }));
    const seen = await end;
    assert.strictEqual(seen.status.code, grpc.status.CANCELLED);
    assert.deepStrictEqual(sizes(seen), [31415]);
  },
  async timeout_on_sleeping_server({ test }) {
    const call = test.FullDuplexCall(new grpc.Metadata(), { deadline: Date.now() + 50 });
    const end = ended(call, () => {});
    call.write(wanted([31415], { payload: 27182, interval_us: 10000000 }));
    assert.strictEqual((await end).status.code, grpc.status.DEADLINE_EXCEEDED);
  },
};

const compressed = {
  compressed_unary: plain.large_unary,
  compressed_client_streaming: plain.client_streaming,
  async compressed_server_streaming({ test }) {
    const end = await ended(test.StreamingOutputCall(wanted([31415, 92653], { payload: LARGE_REQUEST })), () => {});
    ok(end);
    assert.deepStrictEqual(sizes(end), [31415, 92653]);
  },
};

async function main() {
  const [port, which] = process.argv.slice(2);
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const described = loader.loadFileDescriptorSetFromBuffer(Buffer.concat(chunks), { keepCase: true });
  const definition = described['grpc.testing.TestService'];
  const other = Object.fromEntries(Object.entries(definition).map(([name, method]) => (
    [name, { ...method, path: method.path.replace('TestService', 'UnimplementedService') }])));
  const options = which === 'COMPRESSED' ? { 'grpc.default_compression_algorithm': 2 } : {};
  const make = (methods) => new (grpc.makeGenericClientConstructor(methods, 'service'))(
    `127.0.0.1:${port}`, grpc.credentials.createInsecure(), options);
  const clients = { test: make(definition), other: make(other) };
  for (const [name, run] of Object.entries(which === 'COMPRESSED' ? compressed : plain)) {
    const told = { case: name };
    try {
      await run(clients);
    } catch (error) {
      told.error = String(error.stack);
    }
    console.log(JSON.stringify(told));
  }
  // A cancelled call leaves grpc-js's socket open, whichever server it talks to.
  process.stdout.write('', () => process.exit(0));
}

main();
