//! Links the core without `std`. What it does with it is little, but goes through the codec and the messages, so that
//! none of their dependencies is left out of the link.
#![no_std]

extern crate alloc;

use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use xxnet_core::message::{Accepted, Message};
use xxnet_core::pack::{Decoder, Dict, Value, encode};
use xxnet_core::{InstanceId, TaskId};

const ARENA: usize = 1 << 20;

/// Hands out one piece of static memory, and never takes any back.
struct Bump {
    arena: core::cell::UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: the arena is only reached through ranges that `used` hands out once each.
unsafe impl Sync for Bump {}

// SAFETY: every range is aligned, inside the arena, and handed out once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.arena.get().cast::<u8>();
        let mut from = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            from = (base as usize + used).next_multiple_of(layout.align()) - base as usize;
            from.checked_add(layout.size()).filter(|&end| end <= ARENA)
        });
        // SAFETY: `from` lies inside the arena.
        taken.map_or(core::ptr::null_mut(), |_| unsafe { base.add(from) })
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { arena: core::cell::UnsafeCell::new([0; ARENA]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The precompiled `alloc` names it for unwinding, which never happens here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// 0 if a dict and a message come back from their bytes as they went; otherwise the step that failed.
#[unsafe(no_mangle)]
pub extern "C" fn xxnet_no_std_check() -> u32 {
    let dict = Dict::from([("list", Value::from_iter([1, 2]))]);
    let accepted = Message::from(Accepted { task: TaskId { publisher: InstanceId([1; 16]), number: 7 } });
    // There and back through a type of serde's.
    let Ok(typed) = dict.deserialize::<BTreeMap<&str, Vec<i64>>>() else { return 6 };
    if Dict::from_serialize(&typed).as_ref() != Ok(&dict) {
        return 7;
    }
    let Ok(dict_pack) = dict.to_pack() else { return 1 };
    let mut decoder = Decoder::new(1 << 16);
    for pack in [&dict_pack, &accepted.clone().into_pack()] {
        let Ok(buffers) = encode(pack) else { return 2 };
        buffers.into_iter().for_each(|buffer: Bytes| decoder.feed(buffer));
    }
    match decoder.next() {
        Ok(Some(pack)) if Dict::from_pack(&pack).as_ref() == Ok(&dict) => {}
        _ => return 3,
    }
    let Ok(Some(pack)) = decoder.next() else { return 4 };
    if Message::from_pack(pack) == Ok(accepted) { 0 } else { 5 }
}
