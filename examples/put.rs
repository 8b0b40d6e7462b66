//! Uploads a file and a stream to Kodo. The README shows its heart.
//!
//! ```sh
//! HAUL_ACCESS_KEY=… HAUL_SECRET_KEY=… cargo run --example put
//! ```
//!
//! With `CALLBACK_URL` the file goes once more, and the service calls there when it has it.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]
#![expect(
    clippy::disallowed_methods,
    reason = "a program's main may read the environment"
)]

use std::env::var;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let access_key = var("HAUL_ACCESS_KEY")?;
    let secret_key = var("HAUL_SECRET_KEY")?;

    let uploader = haul::Uploader::builder()
        .credentials(access_key, secret_key)
        .build()?;
    let done = uploader
        .put_file("my-bucket", "2026/report.pdf", "report.pdf")
        .await?;
    println!("stored {} bytes with hash {}", done.size, done.hash);

    // A socket, a child's output: whatever can be read.
    let reader = &b"what a program writes"[..];
    let done = uploader
        .put_reader("my-bucket", "backups/app.tar", reader)
        .await?;
    println!("stored {} bytes that were read", done.size);

    if let Ok(url) = var("CALLBACK_URL") {
        let answer = with_callback(&uploader, "2026/report.pdf", "report.pdf", &url).await?;
        println!("the callback answered {} bytes", answer.len());
    }
    Ok(())
}

/// Uploads with a put policy of its own; what the callback answered.
async fn with_callback(
    uploader: &haul::Uploader,
    key: &str,
    path: &str,
    url: &str,
) -> Result<bytes::Bytes, haul::Error> {
    let policy = haul::PutPolicy::for_key("my-bucket", key)
        .callback_url(url)
        .callback_body("key=$(key)")
        .fsize_limit(100 << 20);
    let done = uploader
        .put_file("my-bucket", key, path)
        .policy(policy)
        .keep_last_modified()
        .await?;
    // None where the answer was lost and a look told that the object is there.
    Ok(done.answer.unwrap_or_default())
}
