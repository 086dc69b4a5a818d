pub mod embedded;
pub mod kafka;
pub mod kubernetes;
pub mod logs;
pub mod replay;
pub mod webhook;
