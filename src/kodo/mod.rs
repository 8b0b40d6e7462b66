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

pub mod commit;
pub mod credentials;
pub mod encode;
pub mod etag;
pub mod failure;
pub mod form;
pub mod policy;
pub mod signature;
pub mod token;

pub use credentials::{AccessKey, Credentials, CredentialsError, SecretKey};
pub use etag::{BLOCK_LEN, Etag, EtagHasher};
pub use policy::{PolicyError, PutPolicy, Scope};
pub use token::{TokenError, UploadToken};
