//! The server at the level of the protocol: the SDK's own client over a pipe and over HTTP, and requests that no client would send.

mod mcp_server {
    pub mod desk;
    mod http;
    mod pipe;
    mod socket;
}
