"""Servers beside Kafka that tests run: Schema Registries, and a broker with security."""
