// SPDX-License-Identifier: Apache-2.0
// Reads a bag with Foxglove's libraries, for test_real_tools.py: a line of JSON for each message of
// a topic, its channel's type, and what the schema gave of it. Usage: node read_bag.mjs FILE TOPIC

import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';

// Found through NODE_PATH, which import does not look at.
const require = createRequire(import.meta.url);
const { McapIndexedReader } = require('@mcap/core');
const { parse } = require('@foxglove/rosmsg');
const { MessageReader } = require('@foxglove/rosmsg2-serialization');
const { decompress } = require('fzstd');

const [path, topic] = process.argv.slice(2);
const file = await readFile(path);
const readable = {
  size: async () => BigInt(file.byteLength),
  read: async (offset, length) => file.subarray(Number(offset), Number(offset + length)),
};
const reader = await McapIndexedReader.Initialize({
  readable, decompressHandlers: { zstd: (data) => decompress(data) },
});
const text = (_, value) => (typeof value === 'bigint' ? String(value)
  : ArrayBuffer.isView(value) ? Buffer.from(value).toString('base64') : value);
const readers = new Map();
for await (const message of reader.readMessages({ topics: [topic] })) {
  const schema = reader.schemasById.get(reader.channelsById.get(message.channelId).schemaId);
  if (!readers.has(schema.id)) {
    const definitions = parse(new TextDecoder().decode(schema.data), { ros2: true });
    readers.set(schema.id, new MessageReader(definitions));
  }
  const content = readers.get(schema.id).readMessage(message.data);
  console.log(JSON.stringify({ type: schema.name, time: message.logTime, content }, text));
}
