//! Uploads one file to Kodo. The README shows its heart.
//!
//! ```sh
//! HAUL_ACCESS_KEY=… HAUL_SECRET_KEY=… cargo run --example put
//! ```

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
    Ok(())
}
