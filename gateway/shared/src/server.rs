//! The ports on a Redis server, 7 or newer.
//!
//! Whatever must happen as one is one Lua script. Times are the server's (`TIME`, expiry of keys), so instances whose clocks differ agree.
//! Keys: `PREFIX:cache:KEY`, `PREFIX:claim:KEY`, `PREFIX:session:ID` (a hash), `PREFIX:user:NAME` (ids by creation), `PREFIX:lock:NAME`
//! (the token, for as long as the lease), `PREFIX:fence:NAME` (the last token, for good). Channels: `PREFIX:CHANNEL`.

mod cache;
mod link;
mod locks;
mod pubsub;
mod sessions;

pub use cache::RedisCache;
pub use link::Link;
pub use locks::RedisLocks;
pub use pubsub::RedisPubSub;
pub use sessions::RedisSessions;
