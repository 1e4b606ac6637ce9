// @platformatic/kafka 1.35.0 against a server, whose address is in BOOTSTRAP: what its users do with it.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { Admin, Consumer, FetchIsolationLevels, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'

const run = randomUUID().slice(0, 8)
const base = { clientId: 'gstream', bootstrapBrokers: [process.env.BOOTSTRAP], autocreateTopics: true, timeout: 20_000 }
const admin = new Admin(base)
const named = name => `${name}-${run}`
const values = messages => messages.map(({ value }) => value)
const numbers = count => Array.from({ length: count }, (_, number) => `${number}`)

after(() => admin.close())

async function produce (messages, options = {}, sending = {}) {
  const producer = new Producer({ ...base, serializers: stringSerializers, ...options })
  try {
    await producer.send({ messages, ...sending })
  } finally {
    await producer.close()
  }
}

async function consume (topic, count, { commits = false, groupId = randomUUID(), ...options } = {}) {
  const consumer = new Consumer({ ...base, groupId, deserializers: stringDeserializers, maxWaitTime: 200 })
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false, ...options })
  const found = []
  for await (const message of stream) {
    found.push(message)
    if (found.length === count) break
  }
  if (commits) await found.at(-1).commit()
  await stream.close()
  await consumer.close()
  return found
}

async function until (isSo, what) {
  for (let tries = 0; !isSo(); tries++) {
    assert.ok(tries < 1000, `waited in vain until ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

test('keys and headers', async () => {
  await produce(numbers(100).map(value => ({ topic: named('plain'), key: `key ${value}`, value, headers: { one: 'x' } })))
  const found = await consume(named('plain'), 100)
  assert.deepEqual(values(found).sort(), numbers(100).sort())
  assert.equal(found[0].key, `key ${found[0].value}`)
  assert.equal(found[0].headers.get('one'), 'x')
})

// It has zstd only on a newer Node.js.
for (const compression of ['gzip', 'snappy', 'lz4']) {
  test(`compressed by ${compression}`, async () => {
    const messages = numbers(300).map(number => ({ topic: named(compression), partition: 0, value: `${'value'.repeat(20)} ${number}` }))
    await produce(messages, { compression })
    assert.deepEqual(values(await consume(named(compression), 300)), values(messages))
  })
}

for (const acks of [0, 1, -1]) {
  test(`acks ${acks}`, async () => {
    await produce([{ topic: named(`acks${acks}`), value: 'x' }], {}, { acks })
    assert.deepEqual(values(await consume(named(`acks${acks}`), 1)), ['x'])
  })
}

test('idempotent', async () => {
  const producer = new Producer({ ...base, serializers: stringSerializers, idempotent: true })
  for (const value of numbers(10)) await producer.send({ messages: [{ topic: named('once'), key: 'k', value }] })
  await producer.close()
  assert.deepEqual(values(await consume(named('once'), 10)), numbers(10))
})

test('a group goes on where it was', async () => {
  await produce(numbers(10).map(value => ({ topic: named('kept'), partition: 0, value })))
  const groupId = named('workers')
  assert.deepEqual(values(await consume(named('kept'), 4, { groupId, commits: true })), numbers(4))
  assert.deepEqual(values(await consume(named('kept'), 6, { groupId, commits: true })), numbers(10).slice(4))
})

test('two consumers share, one of them a static member, and the other leaves', async () => {
  const topic = named('shared')
  const groupId = named('shared')
  await admin.createTopics({ topics: [topic], partitions: 6, replicas: 1 })
  const consumers = ['one', undefined].map(groupInstanceId => new Consumer({ ...base, groupId, groupInstanceId, maxWaitTime: 200 }))
  for (const consumer of consumers) {
    const stream = await consumer.consume({ topics: [topic], sessionTimeout: 6000, rebalanceTimeout: 6000, heartbeatInterval: 200 })
    stream.on('data', () => {})
  }
  const given = consumer => (consumer.assignments ?? []).reduce((sum, { partitions }) => sum + partitions.length, 0)
  await until(() => consumers.every(consumer => given(consumer) === 3), 'both have three')
  const group = (await admin.describeGroups({ groups: [groupId] })).get(groupId)
  assert.deepEqual([group.state, group.members.size], ['STABLE', 2])
  await consumers[1].close(true)
  await until(() => given(consumers[0]) === 6, 'the other one has all')
  await consumers[0].close(true)
})

test('transactions', async () => {
  const topic = named('transactions')
  const producer = new Producer({ ...base, serializers: stringSerializers, idempotent: true, transactionalId: named('transactional') })
  for (const [value, ends] of [['one', 'commit'], ['two', 'abort'], ['three', 'commit']]) {
    const transaction = await producer.beginTransaction()
    await transaction.send({ messages: [{ topic, partition: 0, value }] })
    await transaction[ends]()
  }
  const consumer = new Consumer({ ...base, groupId: named('transactions'), deserializers: stringDeserializers, maxWaitTime: 200 })
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false })
  const transaction = await producer.beginTransaction()
  await transaction.addConsumer(consumer)
  for await (const message of stream) {
    await transaction.addOffset(message)
    break
  }
  await transaction.commit()
  await stream.close()
  await consumer.close(true)
  await producer.close()
  const committed = await consume(topic, 2, { isolationLevel: FetchIsolationLevels.READ_COMMITTED })
  assert.deepEqual(values(committed), ['one', 'three'])
  const all = await consume(topic, 3, { isolationLevel: FetchIsolationLevels.READ_UNCOMMITTED })
  assert.deepEqual(values(all), ['one', 'two', 'three'])
  const [{ topics: [kept] }] = await admin.listConsumerGroupOffsets({ groups: [named('transactions')] })
  assert.equal(kept.partitions[0].committedOffset, 1n)
})

test('a topic that is made again is another one', async () => {
  const topic = named('again')
  for (const value of ['first', 'second']) {
    await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 })
    await produce([{ topic, value }])
    assert.deepEqual(values(await consume(topic, 1)), [value])
    await admin.deleteTopics({ topics: [topic] })
  }
})

test('administration', async () => {
  const topic = named('managed')
  const groupId = named('managers')
  const resource = { resourceType: 2, resourceName: topic }
  const retention = async () => {
    const [{ configs }] = await admin.describeConfigs({ resources: [{ ...resource, configurationKeys: ['retention.ms'] }] })
    return configs[0].value
  }
  const [made] = await admin.createTopics({ topics: [topic], partitions: 2, replicas: 1, configs: [{ name: 'retention.ms', value: '100000' }] })
  assert.deepEqual([made.partitions, made.configuration['retention.ms']], [2, '100000'])
  await assert.rejects(admin.createTopics({ topics: [topic], partitions: 2, replicas: 1 }))
  await admin.createPartitions({ topics: [{ name: topic, count: 3, assignments: [{ brokerIds: [1] }] }] })
  assert.equal((await admin.metadata({ topics: [topic] })).topics.get(topic).partitionsCount, 3)
  await admin.incrementalAlterConfigs({ resources: [{ ...resource, configs: [{ name: 'retention.ms', configOperation: 0, value: '200000' }] }] })
  assert.equal(await retention(), '200000')
  await admin.alterConfigs({ resources: [{ ...resource, configs: [{ name: 'retention.ms', value: '300000' }] }] })
  assert.equal(await retention(), '300000')
  await produce(numbers(10).map(value => ({ topic, partition: 0, value })))
  await consume(topic, 10, { groupId, commits: true })
  assert.equal((await admin.listGroups()).get(groupId).state, 'EMPTY')
  await admin.alterConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionOffsets: [{ partition: 0, offset: 3n }] }] })
  const [{ topics: [kept] }] = await admin.listConsumerGroupOffsets({ groups: [groupId] })
  assert.equal(kept.partitions.find(({ partitionIndex }) => partitionIndex === 0).committedOffset, 3n)
  await admin.deleteConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionIndexes: [0] }] })
  const offsetAt = async timestamp => {
    const [{ partitions }] = await admin.listOffsets({ topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp }] }] })
    return partitions[0].offset
  }
  assert.deepEqual([await offsetAt(-2n), await offsetAt(1n), await offsetAt(-1n)], [0n, 0n, 10n])
  const [{ partitions: [deleted] }] = await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 4n }] }] })
  assert.deepEqual([deleted.lowWatermark, await offsetAt(-2n)], [4n, 4n])
  const [{ results: [directory] }] = await admin.describeLogDirs({ topics: [{ name: topic, partitions: [0] }] })
  assert.equal(directory.topics[0].name, topic)
  const coordinators = await admin.findCoordinator({ keyType: 0, keys: [groupId, 'another'] })
  assert.deepEqual(coordinators.map(({ nodeId }) => nodeId), [1, 1])
  await admin.deleteGroups({ groups: [groupId] })
  assert.ok(!(await admin.listGroups()).has(groupId))
  await admin.deleteTopics({ topics: [topic] })
  assert.ok(!(await admin.listTopics()).includes(topic))
})
