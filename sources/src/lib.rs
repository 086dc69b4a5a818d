pub mod embedded;
pub mod kafka;
pub mod replay;
pub mod webhook;
