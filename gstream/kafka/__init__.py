"""The Kafka listener: every topic is a Kafka topic, for every Kafka client.

What is served, and what is not: docs/kafka.md. Needs ``gstream[kafka]``; nothing of it is imported as long as the
listener is off.
"""
