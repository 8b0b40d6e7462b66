//! One direction of a connection, as two kernels and a line between them see it. Pure: time is an
//! argument.
//!
//! Bytes wait in the sender's buffer until they are acknowledged, pass the line, are under way, and
//! wait in the receiver's buffer until they are read. The sender's buffer and the receiver's have
//! bounds, so a line that stands still is felt at both ends as TCP makes it felt.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;

use crate::client::tests::simulation::line::{Line, Way};

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Data(Bytes),
    Fin,
    Reset,
}

/// What the other end did to this direction, as far as the receiver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    No,
    Fin,
    Reset,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Flow {
    way: Way,
    // The sender's side.
    queued: Buffer,
    fin_queued: bool,
    fin_sent: bool,
    /// Most bytes written and not acknowledged.
    pub(super) unacknowledged_max: u64,
    pub(super) written: u64,
    pub(super) acknowledged: u64,
    // On the line.
    passing: Option<(Instant, Piece)>,
    under_way: VecDeque<(Instant, Piece)>,
    under_way_len: u64,
    // The receiver's side.
    unread: Buffer,
    pub(super) unread_max: u64,
    delivered: u64,
    acks: VecDeque<(Instant, u64)>,
    pub(super) ended: Ended,
    /// Nobody will ever read: what still comes is answered with a reset.
    pub(super) is_closed: bool,
    /// Set when such bytes came.
    pub(super) wants_reset: bool,
    /// A reset takes what is unread with it.
    pub(super) reset_drops_unread: bool,
    // Faults.
    /// From so many delivered bytes on, nothing arrives any more.
    pub(super) hole_at: Option<u64>,
    /// Acknowledgements of this direction do not come back.
    pub(super) acks_lost: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// Somebody who wants to know of the end without reading.
    pub(super) watcher: Option<Waker>,
}

impl Flow {
    pub(super) fn new(way: Way, unacknowledged_max: u64, unread_max: u64) -> Self {
        Self {
            way,
            queued: Buffer::default(),
            fin_queued: false,
            fin_sent: false,
            unacknowledged_max,
            written: 0,
            acknowledged: 0,
            passing: None,
            under_way: VecDeque::new(),
            under_way_len: 0,
            unread: Buffer::default(),
            unread_max,
            delivered: 0,
            acks: VecDeque::new(),
            ended: Ended::No,
            is_closed: false,
            wants_reset: false,
            reset_drops_unread: false,
            hole_at: None,
            acks_lost: false,
            reader: None,
            writer: None,
            watcher: None,
        }
    }

    /// Which way it goes.
    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// How many bytes can be written now.
    pub(super) fn writable(&self) -> usize {
        let held = self.written - self.acknowledged;
        usize::try_from(self.unacknowledged_max.saturating_sub(held)).unwrap_or(usize::MAX)
    }

    /// Takes bytes from the sender's program; as many as [`writable`](Self::writable) at most.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.queued.push(Bytes::copy_from_slice(bytes));
    }

    /// The sender's program has said its last word.
    pub(super) fn finish(&mut self) {
        self.fin_queued = true;
    }

    /// Whether it has.
    pub(super) fn is_finished(&self) -> bool {
        self.fin_queued
    }

    /// Nothing more goes out.
    pub(super) fn break_off(&mut self) {
        self.queued.clear();
        self.fin_queued = true;
        self.fin_sent = true;
        if let Some((_, Piece::Data(bytes))) = self.passing.take() {
            self.under_way_len -= bytes.len() as u64;
        }
        wake(&mut self.writer);
    }

    /// The same, and the other end is told.
    pub(super) fn reset(&mut self, now: Instant, line: &Line) {
        self.break_off();
        // Whoever is gone sends nothing again: what an outage holds up is lost.
        let soon = now + line.latency / 2;
        while let Some((due, piece)) = self.under_way.pop_back_if(|(due, _)| *due > soon) {
            debug_assert!(due > soon);
            if let Piece::Data(bytes) = piece {
                self.under_way_len -= bytes.len() as u64;
            }
        }
        if !self.is_holed() {
            let due = line.up_from(line.up_from(now) + line.latency / 2);
            self.under_way.push_back((due, Piece::Reset));
        }
    }

    /// Gives the receiver's program up to `len` bytes.
    pub(super) fn read(&mut self, len: usize) -> Bytes {
        self.unread.take(len)
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether the receiver's buffer has room for more than is under way.
    pub(super) fn room(&self) -> u64 {
        self.unread_max
            .saturating_sub(self.unread.len() as u64 + self.under_way_len)
    }

    /// Whether bytes that are sent now never arrive.
    pub(super) fn is_holed(&self) -> bool {
        self.hole_at.is_some_and(|at| self.delivered >= at)
    }

    /// Everything up to `now`; when to look again if nothing else happens.
    pub(super) fn advance(&mut self, now: Instant, line: &mut Line) -> Option<Instant> {
        self.leave_the_line(now, line);
        self.arrive(now, line);
        self.hear_acks(now);
        self.enter_the_line(now, line);
        let passing = self.passing.as_ref().map(|(passed, _)| *passed);
        let due = self.under_way.front().map(|(due, _)| *due);
        let ack = self.acks.front().map(|(due, _)| *due);
        let up = line.up_from(now);
        let again = (up > now && self.has_to_send()).then_some(up);
        [passing, due, ack, again].into_iter().flatten().min()
    }

    fn leave_the_line(&mut self, now: Instant, line: &Line) {
        // The next piece may enter in the moment this one has left, even if that is noticed late.
        while let Some((passed, piece)) = self.passing.take_if(|(passed, _)| *passed <= now) {
            let due = line.up_from(passed + line.latency / 2);
            self.under_way.push_back((due, piece));
        }
    }

    fn arrive(&mut self, now: Instant, line: &Line) {
        while let Some((due, piece)) = self.under_way.pop_front() {
            if due > now {
                self.under_way.push_front((due, piece));
                return;
            }
            let is_holed = self.is_holed();
            match piece {
                Piece::Data(bytes) => {
                    self.under_way_len -= bytes.len() as u64;
                    if !is_holed {
                        self.take_in(bytes, due, line);
                    }
                }
                _ if is_holed || self.ended == Ended::Reset => {}
                Piece::Fin => self.ended = Ended::Fin,
                Piece::Reset => {
                    self.ended = Ended::Reset;
                    if self.reset_drops_unread {
                        self.unread.clear();
                    }
                }
            }
            wake(&mut self.reader);
            wake(&mut self.watcher);
        }
    }

    fn take_in(&mut self, bytes: Bytes, due: Instant, line: &Line) {
        self.delivered += bytes.len() as u64;
        if self.is_closed {
            self.wants_reset = true;
            return;
        }
        self.unread.push(bytes);
        if !self.acks_lost {
            let ack = line.up_from(due + line.latency / 2);
            self.acks.push_back((ack, self.delivered));
        }
    }

    fn hear_acks(&mut self, now: Instant) {
        while let Some((_, acknowledged)) = self.acks.pop_front_if(|(due, _)| *due <= now) {
            self.acknowledged = acknowledged;
            wake(&mut self.writer);
        }
    }

    fn has_to_send(&self) -> bool {
        self.passing.is_none()
            && !self.is_holed()
            && ((!self.queued.is_empty() && self.room() > 0)
                || (self.queued.is_empty() && self.fin_queued && !self.fin_sent))
    }

    fn enter_the_line(&mut self, now: Instant, line: &mut Line) {
        if !self.has_to_send() || line.up_from(now) > now {
            return;
        }
        if self.queued.is_empty() {
            self.fin_sent = true;
            self.passing = Some((now, Piece::Fin));
            self.leave_the_line(now, line);
            self.arrive(now, line);
            return;
        }
        let len = line.piece_len(now).min(self.room());
        let bytes = self.queued.take(usize::try_from(len).unwrap());
        self.under_way_len += bytes.len() as u64;
        let passed = line.pass(self.way, now, bytes.len() as u64);
        self.passing = Some((passed, Piece::Data(bytes)));
    }
}

/// Bytes in the pieces in which they came.
#[derive(Debug, Default)]
struct Buffer {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Buffer {
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.pieces.push_back(bytes);
    }

    /// Up to `len` bytes: at most what one piece still holds.
    fn take(&mut self, len: usize) -> Bytes {
        let Some(first) = self.pieces.front_mut() else {
            return Bytes::new();
        };
        let taken = first.split_to(len.min(first.len()));
        if first.is_empty() {
            self.pieces.pop_front();
        }
        self.len -= taken.len();
        taken
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn len(&self) -> usize {
        self.len
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
