pub mod embedded;
pub mod kafka;
pub mod logs;
pub mod replay;
pub mod webhook;
