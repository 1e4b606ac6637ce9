"""The Kafka listener: the server as Kafka's clients see it. Imported only when it is switched on."""
