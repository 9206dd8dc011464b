"""Servers beside Kafka that tests run: Schema Registries, PostgreSQL, and a broker with security."""
