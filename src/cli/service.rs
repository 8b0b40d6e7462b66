//! The service that a destination names, ready to be called.

use std::path::PathBuf;

use crate::cli::destination::Service;
use crate::client::Uploader;
use crate::config::Config;
use crate::devserver::{DevServer, Place};
use crate::error::{Error, ErrorKind};

/// A service, for the length of one command.
pub(crate) struct Remote {
    uploader: Uploader,
    /// `local://`'s server, in this process.
    server: Option<DevServer>,
}

impl Remote {
    /// Kodo by the settings, or the dev server over the store of this machine.
    pub(crate) async fn open(service: Service, config: &Config) -> Result<Self, Error> {
        if service == Service::Kodo {
            return Ok(Self {
                uploader: config.uploader()?,
                server: None,
            });
        }
        let server = DevServer::builder()
            .place(Place::Disk(local_store(config)?))
            .start()
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Local, format!("cannot open local://: {error}"))
                    .next("look after the state directory, or name another with --state-dir")
            })?;
        Ok(Self {
            uploader: config.local_uploader(&server)?,
            server: Some(server),
        })
    }

    /// What calls it.
    pub(crate) fn uploader(&self) -> &Uploader {
        &self.uploader
    }

    /// Ends it in good order.
    pub(crate) async fn close(self) {
        // The uploader's idle connection first: the server waits for open ones.
        drop(self.uploader);
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

/// Where `local://` keeps its objects and its key pair.
pub(crate) fn local_store(config: &Config) -> Result<PathBuf, Error> {
    Ok(config.state_dir()?.join("local"))
}
