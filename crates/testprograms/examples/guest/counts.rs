//! Numbers of requests that are not those that are queued.

use crate::Findings;
use ringwarden_testring::{Cqe, EnterFlags, Ring, SetupFlags, Sqe};
use ringwarden_uapi::sys;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

const THREADS: u64 = 4;
const EACH: u64 = 7000;

/// How often each request has run, and what else came.
struct Tally {
    runs: Vec<u64>,
    refused: u64,
    other: u64,
}

impl Tally {
    fn new(requests: u64) -> Self {
        Self { runs: vec![0; requests as usize], refused: 0, other: 0 }
    }

    fn take(&mut self, Cqe { user_data, res, .. }: Cqe) {
        match (res, self.runs.get_mut(user_data as usize)) {
            (0, Some(runs)) => *runs += 1,
            (res, _) if res == -libc::EACCES => self.refused += 1,
            _ => self.other += 1,
        }
    }

    fn tell(&self, findings: &mut Findings) {
        let number = |which: fn(&&u64) -> bool| self.runs.iter().filter(which).count() as u64;
        findings.count("requests", self.runs.len() as u64);
        findings.count("lost", number(|&&runs| runs == 0));
        findings.count("run more than once", number(|&&runs| runs > 1));
        findings.count("refused", self.refused);
        findings.count("other", self.other);
    }
}

/// Queues one to three requests, and says eight.
pub(crate) fn eight(findings: &mut Findings) -> io::Result<()> {
    const ROUNDS: u64 = 1000;
    let ring = Ring::new(8, SetupFlags::empty())?;
    let queued = |round: u64| 1 + round % 3;
    let mut tally = Tally::new((0..ROUNDS).map(queued).sum());
    let (mut user_data, mut miscounted) = (0, 0);
    for round in 0..ROUNDS {
        for _ in 0..queued(round) {
            ring.push(&Sqe { user_data, ..Sqe::default() });
            user_data += 1;
        }
        // SAFETY: NOPs hold no pointers.
        if unsafe { ring.enter(8, 0)? } as u64 != queued(round) {
            miscounted += 1;
        }
        while let Some(completion) = ring.pop() {
            tally.take(completion);
        }
    }
    findings.count("miscounted", miscounted);
    tally.tell(findings);
    Ok(())
}

/// Says that there are twice as many requests as there is room for: no more than that are taken at once.
pub(crate) fn overrun(findings: &mut Findings) -> io::Result<()> {
    const ENTRIES: u32 = 8;
    let ring = Ring::new(ENTRIES, SetupFlags::empty())?;
    let (mut most, mut failed) = (0, 0);
    for _ in 0..100 {
        while ring.push(&Sqe::default()) {}
        ring.sq_tail().fetch_add(ENTRIES, Ordering::AcqRel);
        for _ in 0..2 {
            // SAFETY: NOPs hold no pointers.
            most = most.max(unsafe { ring.enter(2 * ENTRIES, 0)? });
            while let Some(completion) = ring.pop() {
                failed += u64::from(completion.res != 0);
            }
        }
    }
    findings.count("most at once", most.into());
    findings.count("failed", failed);
    Ok(())
}

/// Each thread queues under a lock, and then submits as many as it sees queued, its own or not.
pub(crate) fn shared(findings: &mut Findings) -> io::Result<()> {
    let ring = Ring::new(64, SetupFlags::empty())?;
    let (queue, tally) = (Mutex::new(()), Mutex::new(Tally::new(THREADS * EACH)));
    let errors = AtomicU64::new(0);
    let submit = || {
        let tail = ring.sq_tail().load(Ordering::Acquire);
        let count = tail.wrapping_sub(ring.sq_head().load(Ordering::Acquire));
        // SAFETY: NOPs hold no pointers.
        if count > 0 && count <= 64 && unsafe { ring.enter(count, 0) }.is_err() {
            errors.fetch_add(1, Ordering::Relaxed);
        }
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(completion) = ring.pop() {
            tally.take(completion);
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (ring, queue, submit) = (&ring, &queue, &submit);
            scope.spawn(move || {
                for user_data in thread * EACH..(thread + 1) * EACH {
                    loop {
                        let turn = queue.lock().unwrap_or_else(PoisonError::into_inner);
                        let pushed = ring.push(&Sqe { user_data, ..Sqe::default() });
                        drop(turn);
                        submit();
                        if pushed {
                            break;
                        }
                    }
                }
            });
        }
    });
    // What a call left behind because another had said less than there was.
    for _ in 0..64 {
        submit();
    }
    findings.count("errors", errors.into_inner());
    tally.into_inner().unwrap_or_else(PoisonError::into_inner).tell(findings);
    Ok(())
}

/// Wakes a submission thread without a number, as libuv does, and with one, as liburing does.
pub(crate) fn wake(findings: &mut Findings) -> io::Result<()> {
    const ROUNDS: u64 = 100;
    let ring = Ring::new(8, SetupFlags::SQPOLL)?;
    let mut tally = Tally::new(2 * 3 * ROUNDS);
    let mut user_data = 0;
    let (mut plain, mut numbered) = (0, 0);
    for round in 0..2 * ROUNDS {
        for _ in 0..3 {
            ring.push(&Sqe { user_data, ..Sqe::default() });
            user_data += 1;
        }
        let to_submit = if round % 2 == 0 { 0 } else { 3 };
        let flags = EnterFlags::SQ_WAKEUP.bits();
        // SAFETY: NOPs hold no pointers.
        let woken = unsafe { sys::enter(ring.as_fd(), to_submit, 0, flags)? };
        let wrong = if to_submit == 0 { &mut plain } else { &mut numbered };
        *wrong += u64::from(woken != to_submit);
        let mut left = 3;
        while left > 0 {
            // SAFETY: as above.
            unsafe { sys::enter(ring.as_fd(), 0, 1, EnterFlags::GETEVENTS.bits())? };
            while let Some(completion) = ring.pop() {
                tally.take(completion);
                left -= 1;
            }
        }
    }
    findings.count("woken without a number, wrong", plain);
    findings.count("woken with a number, wrong", numbered);
    tally.tell(findings);
    Ok(())
}
