//! As much HTTP as the emulator's APIs need: one request, one JSON answer, per connection.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// One call. `start` is the method and the path; the body is JSON, or nothing.
pub(crate) async fn call(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    start: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<Value> {
    let mut request = format!("{start} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{start}: no HTTP answer"))?;
    ensure!(head.starts_with("HTTP/1.1 20"), "{start}: {answer}");
    if body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(body)?) }
}
