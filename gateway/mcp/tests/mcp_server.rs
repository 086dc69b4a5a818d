//! The server at the level of the protocol: the SDK's own client over a pipe and over HTTP, requests that no client would send, and the
//! official clients and conformance suite (`scripts/services/mcp.sh`).

mod mcp_server {
    pub mod desk;
    mod http;
    mod official;
    mod pipe;
    mod socket;
}
