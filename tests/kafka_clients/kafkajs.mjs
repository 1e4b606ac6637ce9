// kafkajs 2.2.4 against a server, whose address is in BOOTSTRAP: what its users do with it.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy

const run = randomUUID().slice(0, 8)
const kafka = new Kafka({ clientId: 'gstream', brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING })
const admin = kafka.admin()
const named = name => `${name}-${run}`
const values = messages => messages.map(({ message }) => message.value.toString())
const numbers = count => Array.from({ length: count }, (_, number) => `${number}`)

before(() => admin.connect())
after(() => admin.disconnect())

async function produce (topic, messages, options = {}, sending = {}) {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...options })
  await producer.connect()
  try {
    return await producer.send({ topic, messages, ...sending })
  } finally {
    await producer.disconnect()
  }
}

async function consume (topic, count, options = {}) {
  const consumer = kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 200, ...options })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const found = []
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${found.length} of ${count} came`)), 20_000)
    consumer.run({
      eachMessage: async message => {
        found.push(message)
        if (found.length === count) {
          clearTimeout(timer)
          resolve()
        }
      }
    })
  })
  await consumer.disconnect()
  return found
}

async function until (isSo, what) {
  for (let tries = 0; !isSo(); tries++) {
    assert.ok(tries < 1000, `waited in vain until ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

test('keys and headers', async () => {
  const messages = numbers(100).map(number => ({ key: `key ${number}`, value: number, headers: { one: 'x', two: ['1', '2'] } }))
  const rows = await produce(named('plain'), messages)
  assert.ok(rows.length > 0 && rows.every(row => row.errorCode === 0))
  const found = await consume(named('plain'), 100)
  assert.deepEqual(values(found).sort(), numbers(100).sort())
  const { key, value, headers } = found[0].message
  assert.equal(key.toString(), `key ${value}`)
  assert.equal(headers.one.toString(), 'x')
  assert.deepEqual(headers.two.map(String), ['1', '2'])
})

for (const [codec, compression] of [['gzip', CompressionTypes.GZIP], ['snappy', CompressionTypes.Snappy]]) {
  test(`compressed by ${codec}`, async () => {
    const messages = numbers(500).map(number => ({ value: `${'value'.repeat(20)} ${number}`, partition: 0 }))
    await produce(named(codec), messages, {}, { compression })
    assert.deepEqual(values(await consume(named(codec), 500)), messages.map(({ value }) => value))
  })
}

for (const acks of [0, 1, -1]) {
  test(`acks ${acks}`, async () => {
    await produce(named(`acks${acks}`), [{ value: 'x' }], {}, { acks })
    assert.deepEqual(values(await consume(named(`acks${acks}`), 1)), ['x'])
  })
}

test('idempotent', async () => {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (const value of numbers(10)) await producer.send({ topic: named('once'), messages: [{ key: 'k', value }] })
  await producer.disconnect()
  assert.deepEqual(values(await consume(named('once'), 10)), numbers(10))
})

test('a group goes on where it was', async () => {
  const topic = named('kept')
  const groupId = named('workers')
  await produce(topic, numbers(10).map(value => ({ value, partition: 0 })))
  assert.deepEqual(values(await consume(topic, 10, { groupId })), numbers(10))
  await produce(topic, [{ value: 'more', partition: 0 }])
  assert.deepEqual(values(await consume(topic, 1, { groupId })), ['more'])
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
  assert.equal(partitions.find(({ partition }) => partition === 0).offset, '11')
})

test('two consumers share, and one leaves', async () => {
  const topic = named('shared')
  const groupId = named('shared')
  await admin.createTopics({ topics: [{ topic, numPartitions: 6 }] })
  const given = [0, 0]
  const consumers = given.map(() => kafka.consumer({ groupId, heartbeatInterval: 200, maxWaitTimeInMs: 200 }))
  for (const [number, consumer] of consumers.entries()) {
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      given[number] = (payload.memberAssignment[topic] ?? []).length
    })
    await consumer.connect()
    await consumer.subscribe({ topic })
    await consumer.run({ eachMessage: async () => {} })
  }
  await until(() => given[0] === 3 && given[1] === 3, 'both have three')
  const { groups: [group] } = await admin.describeGroups([groupId])
  assert.deepEqual([group.state, group.members.length], ['Stable', 2])
  await consumers[0].disconnect()
  await until(() => given[1] === 6, 'the other one has all')
  await consumers[1].disconnect()
})

test('transactions', async () => {
  const topic = named('transactions')
  const consumerGroupId = named('transactions')
  const producer = kafka.producer({ transactionalId: named('transactional'), idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (const [value, ends] of [['one', 'commit'], ['two', 'abort'], ['three', 'commit']]) {
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ value, partition: 0 }] })
    await transaction.sendOffsets({ consumerGroupId, topics: [{ topic, partitions: [{ partition: 0, offset: `${value.length}` }] }] })
    await transaction[ends]()
  }
  await producer.disconnect()
  assert.deepEqual(values(await consume(topic, 2)), ['one', 'three'])
  assert.deepEqual(values(await consume(topic, 3, { readUncommitted: true })), ['one', 'two', 'three'])
  const [{ partitions }] = await admin.fetchOffsets({ groupId: consumerGroupId, topics: [topic] })
  assert.equal(partitions.find(({ partition }) => partition === 0).offset, '5')
})

test('administration', async () => {
  const topic = named('managed')
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  const retention = async () => {
    const { resources: [{ configEntries }] } = await admin.describeConfigs({ resources: [{ ...resource, configNames: ['retention.ms'] }] })
    return configEntries[0].configValue
  }
  const configEntries = [{ name: 'retention.ms', value: '100000' }]
  assert.equal(await admin.createTopics({ topics: [{ topic, numPartitions: 2, configEntries }] }), true)
  assert.equal(await admin.createTopics({ topics: [{ topic }] }), false)
  assert.ok((await admin.listTopics()).includes(topic))
  await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
  assert.equal((await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length, 4)
  assert.equal(await retention(), '100000')
  configEntries[0].value = '200000'
  await admin.alterConfigs({ resources: [{ ...resource, configEntries }] })
  assert.equal(await retention(), '200000')
  const { brokers, controller } = await admin.describeCluster()
  assert.deepEqual([brokers.length, controller], [1, brokers[0].nodeId])
  await produce(topic, numbers(10).map(value => ({ value, partition: 0 })))
  const groupId = named('managers')
  await consume(topic, 10, { groupId })
  assert.ok((await admin.listGroups()).groups.some(group => group.groupId === groupId))
  const past = await admin.fetchTopicOffsetsByTimestamp(topic, 0)
  assert.equal(past.find(({ partition }) => partition === 0).offset, '0')
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
  const { low, high } = (await admin.fetchTopicOffsets(topic)).find(({ partition }) => partition === 0)
  assert.deepEqual([low, high], ['4', '10'])
  await admin.deleteGroups([groupId])
  assert.ok(!(await admin.listGroups()).groups.some(group => group.groupId === groupId))
  await admin.deleteTopics({ topics: [topic] })
  assert.ok(!(await admin.listTopics()).includes(topic))
})

test('what cannot be is refused', async () => {
  await assert.rejects(admin.fetchTopicMetadata({ topics: ['no/name'] }), { type: 'INVALID_TOPIC_EXCEPTION' })
  await assert.rejects(produce(named('large'), [{ value: 'x'.repeat(2_000_000) }]), { type: 'MESSAGE_TOO_LARGE' })
})
