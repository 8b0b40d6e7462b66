//! The engine against a model of the world: every schedule of small uploads, seeded large ones.

mod bounds;
mod checks;
mod commits;
mod connecting;
mod contact;
mod cuts;
mod ends;
mod exhaustive;
mod failures;
mod hosts;
mod lanes;
mod limits;
mod line;
mod listing;
mod pace;
mod patience;
mod race;
mod reach;
mod rules;
mod seeded;
mod service;
mod setup;
mod sizes;
mod stream;
mod world;
