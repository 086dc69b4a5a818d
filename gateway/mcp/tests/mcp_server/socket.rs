//! The socket of `aegis mcp --stdio`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::GatewaySettings;
use mcp::{McpServer, McpSettings, SOCKET};
use rmcp::model::CallToolRequestParams;
use rmcp::service::RunningService;
use rmcp::{RoleClient, ServiceExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::desk::Site;

async fn said_hello(folder: &Path, hello: &str) -> UnixStream {
    let mut stream = UnixStream::connect(folder.join(SOCKET)).await.unwrap();
    stream.write_all(hello.as_bytes()).await.unwrap();
    stream
}

/// Whether the server hangs up.
async fn hangs_up(mut stream: UnixStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    // A reset is one way to hang up.
    let _ = read.expect("it hangs up");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

/// A client that has been let in; a place that the one before it leaves is free a moment later.
async fn joined(folder: &Path, hello: &str) -> RunningService<RoleClient, ()> {
    for _ in 0..200 {
        if let Ok(client) = ().serve(said_hello(folder, hello).await).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there was no place for {hello}");
}

#[tokio::test]
async fn the_owner_of_the_folder_joins_and_rubbish_does_not() {
    let site = Site::new();
    let settings = McpSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        max_sessions: 2,
        ..McpSettings::default()
    };
    let desk = Arc::clone(site.aegis.desk());
    let server = McpServer::bind(settings, &GatewaySettings::default(), desk, site.path())
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(stop.clone()));
    let mode = std::fs::metadata(site.path().join(SOCKET))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    for rubbish in [
        "\n",
        "GET / HTTP/1.1\r\n\r\n",
        "{\"user\":7}\n",
        "{\"user\":\"ada\",\"role\":\"admin\"}\n",
        &"x".repeat(5_000),
    ] {
        hangs_up(said_hello(site.path(), rubbish).await).await;
    }
    let client = joined(site.path(), "{\"user\":\"ada\"}\n").await;
    let evil = joined(site.path(), "{\"user\":\"a\\nb; rm\"}\n").await;
    // As many as may be.
    hangs_up(said_hello(site.path(), "{\"user\":\"eve\"}\n").await).await;
    for one in [&client, &evil] {
        one.call_tool(CallToolRequestParams::new("pipeline_status"))
            .await
            .unwrap();
    }
    let by: Vec<String> = site.calls().into_iter().map(|call| call.by).collect();
    assert_eq!(by, ["human:ada", "human:unnamed"]);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), serving)
        .await
        .expect("it stops")
        .unwrap()
        .unwrap();
}
