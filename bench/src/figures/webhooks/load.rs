//! The sender: connections that each send a request, wait for its answer, and send the next. It reads no more of an answer than
//! where it ends, as it shares its cores with what it measures.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, bail};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longest head of an answer.
const MAX_HEAD: usize = 16 << 10;

/// Requests, dealt to connections in turn.
pub struct Load(Vec<Vec<Bytes>>);

pub struct Answer {
    /// From the first byte sent to the last byte read.
    pub seconds: f64,
    /// The status was 2xx.
    pub taken: bool,
}

impl Load {
    pub fn new(connections: usize, requests: Vec<Bytes>) -> Self {
        let mut dealt = vec![Vec::new(); connections.max(1)];
        let many = dealt.len();
        for (nth, request) in requests.into_iter().enumerate() {
            dealt[nth % many].push(request);
        }
        Load(dealt)
    }

    /// Sends everything.
    ///
    /// # Errors
    /// A connection breaks, or what comes back is no answer.
    pub async fn run(self, to: SocketAddr) -> anyhow::Result<Vec<Answer>> {
        let mut connections = JoinSet::new();
        for requests in self.0 {
            connections.spawn(one(to, requests));
        }
        let mut answers = Vec::new();
        while let Some(sent) = connections.join_next().await {
            answers.extend(sent??);
        }
        Ok(answers)
    }
}

async fn one(to: SocketAddr, requests: Vec<Bytes>) -> anyhow::Result<Vec<Answer>> {
    let mut stream = TcpStream::connect(to).await.with_context(|| to.to_string())?;
    stream.set_nodelay(true)?;
    let mut answers = Vec::with_capacity(requests.len());
    let mut buffer = Vec::with_capacity(MAX_HEAD);
    for request in requests {
        let began = Instant::now();
        stream.write_all(&request).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        answers.push(Answer {
            seconds: began.elapsed().as_secs_f64(),
            taken: (200..300).contains(&status),
        });
    }
    Ok(answers)
}

/// Reads one answer to its end; its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
    buffer.clear();
    let head = loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection was closed: {:?}", String::from_utf8_lossy(buffer));
        }
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > MAX_HEAD {
            bail!("an answer without an end");
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|digits| digits.parse().ok());
    let status: u16 = status.with_context(|| format!("no status in {text:?}"))?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = match length {
        Some(length) => length.trim().parse()?,
        None if status == 204 => 0,
        None => bail!("an answer without a length: {text:?}"),
    };
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection was closed in the middle of an answer");
        }
    }
    Ok(status)
}
