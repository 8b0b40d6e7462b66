//! The Qiniu Kodo dialect, bytes only: what is said on the wire, in both directions.
//!
//! Builders turn nouns of the [`model`](crate::model) into a [`Request`](crate::model::Request);
//! readers turn an [`Answer`](crate::model::Answer) into a typed result or a
//! [`Failure`](crate::model::Failure). The dev server uses the same encodings, hashes and signatures
//! from the other side; the known answers in `fixtures/kodo/` prove them without either.
//!
//! Absent on purpose: sockets, files, clocks, randomness, retries. Who calls, when, and what a
//! failure leads to is decided elsewhere.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`encode`] | URL-safe base64, entries |
//! | [`credentials`] | the key pair and its HMAC |
//! | [`policy`], [`token`] | put policies and the upload tokens that carry them |
//! | [`signature`] | the management signatures `QBox` and `Qiniu` |
//! | [`etag`] | the hash that names content |
//! | [`commit`] | what goes with an object, the same for all three ways to upload |
//! | [`form`], [`blocks`], [`multipart`] | the three ways: form, resumable v1, resumable v2 |
//! | [`stored`] | the answer to a finished upload |
//! | [`region`] | which hosts serve a bucket |
//! | [`manage`] | stat, delete, list, batch |
//! | [`failure`] | what an answer means that is no success |

pub mod blocks;
pub mod commit;
pub mod credentials;
pub mod encode;
pub mod etag;
pub mod failure;
pub mod form;
pub mod manage;
pub mod multipart;
pub mod policy;
pub mod region;
pub mod signature;
pub mod stored;
pub mod token;

pub use blocks::{ChunkReply, Context, SentChunk};
pub use commit::{Commit, CommitError};
pub use credentials::{AccessKey, Credentials, CredentialsError, SecretKey};
pub use etag::{BLOCK_LEN, Etag, EtagHasher};
pub use form::Boundary;
pub use multipart::{Initiated, PartNumber, PartReply, PartsPage, Upload, UploadId};
pub use policy::{PolicyError, PutPolicy, Scope};
pub use region::{Region, Regions};
pub use stored::{AnswerForm, Stored};
pub use token::{TokenError, UploadToken};
