//! The Kafka log against a real broker, named by `AEGIS_TEST_KAFKA*` (see `scripts/test-services.sh`).
//!
//! Without these variables the tests say that they did not run; with `AEGIS_TEST_REQUIRE=1` they fail instead.

#[path = "kafka_log/conform.rs"]
mod conform;
#[path = "kafka_log/connect.rs"]
mod connect;
#[path = "kafka_log/groups.rs"]
mod groups;
#[path = "kafka_log/records.rs"]
mod records;
#[path = "kafka_log/support.rs"]
mod support;
#[path = "kafka_log/zombie.rs"]
mod zombie;
