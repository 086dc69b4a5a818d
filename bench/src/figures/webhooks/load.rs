//! The sender: connections that each send a request, wait for its answer, and send the next. All of it in one thread, and it reads no more
//! of an answer than its status and where it ends, as it shares its cores with what it measures.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, bail};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longest head of an answer.
const MAX_HEAD: usize = 16 << 10;

const LENGTH: &[u8] = b"content-length:";

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

    /// Sends everything, from one thread.
    ///
    /// # Errors
    /// A connection breaks, or what comes back is no answer.
    pub fn run(self, to: SocketAddr) -> anyhow::Result<Vec<Answer>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            for requests in self.0 {
                connections.spawn(one(to, requests));
            }
            let mut answers = Vec::new();
            while let Some(sent) = connections.join_next().await {
                answers.extend(sent??);
            }
            Ok(answers)
        })
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
    let (status, length) = said(&buffer[..head])?;
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection was closed in the middle of an answer");
        }
    }
    Ok(status)
}

/// The status of an answer, and the length of its body.
fn said(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let wrong = || format!("not an answer: {:?}", String::from_utf8_lossy(head));
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.trim().parse::<usize>().ok();
    let status = head.get(9..12).and_then(number).with_context(wrong)? as u16;
    let length = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        name.eq_ignore_ascii_case(LENGTH).then(|| number(value))
    });
    match length {
        Some(length) => Ok((status, length.with_context(wrong)?)),
        None if status == 204 => Ok((status, 0)),
        None => bail!("an answer without a length: {:?}", String::from_utf8_lossy(head)),
    }
}
