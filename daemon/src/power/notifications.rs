//! Wakings and changes of the network, as macOS tells them to a run loop, which has a thread of its own.
//!
//! Power: `IORegisterForSystemPower` tells a program that the machine is about to sleep, which must be answered or the lid
//! stays warm for half a minute, and that it is fully awake. Of a dark waking it tells nothing: that one the clocks find (see
//! [`super::clocks`]), and what they find is dark until this says otherwise.
//!
//! Network: the dynamic store of SystemConfiguration has a key for what is the primary network now, and keys for the
//! addresses of each interface, virtual private networks included.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use objc2_core_foundation::{
    CFArray, CFRetained, CFRunLoop, CFRunLoopSource, CFString, kCFRunLoopDefaultMode,
};
use objc2_io_kit::{
    IOAllowPowerChange, IODeregisterForSystemPower, IONotificationPort, IONotificationPortRef,
    IOObjectRelease, IORegisterForSystemPower, IOServiceClose, io_connect_t, io_object_t, io_service_t,
    kIOMessageCanSystemSleep, kIOMessageSystemHasPoweredOn, kIOMessageSystemWillSleep,
};
use objc2_system_configuration::{SCDynamicStore, SCDynamicStoreContext};
use stormtunnel_engine::incidents::Bulletin;
use stormtunnel_engine::ports::{Incident, PortFuture};

use super::Watch;
use super::clocks::Sleeps;

/// How often the thread looks whether it is still wanted, in seconds: only while the daemon stops would more often help, and
/// then the process is about to end.
const LOOK_UP: f64 = 60.0;

/// The primary network.
const KEYS: [&str; 2] = ["State:/Network/Global/IPv4", "State:/Network/Global/IPv6"];
/// Addresses of interfaces. Not those of IPv6: peer-to-peer radios change theirs all day.
const PATTERNS: [&str; 1] = ["State:/Network/Interface/[^/]+/IPv4"];

/// Listens to the system.
#[derive(Debug)]
pub struct Notifications {
    sleeps: Arc<Sleeps>,
}

impl Notifications {
    /// Reports what `sleeps` has not reported yet.
    pub fn new(sleeps: Arc<Sleeps>) -> Self {
        Self { sleeps }
    }
}

impl Watch for Notifications {
    fn name(&self) -> &'static str {
        "watch sleep and network"
    }

    fn watch(self: Box<Self>, bulletin: Bulletin) -> PortFuture<'static, ()> {
        Box::pin(async move {
            let wanted = Wanted(Arc::new(AtomicBool::new(true)));
            let listener =
                Listener { sleeps: self.sleeps, bulletin, wanted: Arc::clone(&wanted.0), root: Cell::new(0) };
            // A run loop belongs to a thread and blocks it, so it can be no task.
            let thread = std::thread::Builder::new().name("notifications".to_owned());
            if let Err(error) = thread.spawn(move || listen(&listener)) {
                tracing::warn!(%error, "no news of sleep and network; the clocks are still watched");
            }
            std::future::pending().await
        })
    }
}

/// While it lives the thread goes on.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What the callbacks get. It lives on the thread that they are called on.
struct Listener {
    sleeps: Arc<Sleeps>,
    bulletin: Bulletin,
    wanted: Arc<AtomicBool>,
    /// What answers a sleep that is about to begin.
    root: Cell<io_connect_t>,
}

impl Listener {
    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn as_context(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// Registers for both kinds of news and serves them until nobody wants them.
fn listen(listener: &Listener) {
    let Some(run_loop) = CFRunLoop::current() else { return };
    let power = Power::register(listener, &run_loop);
    let network = register_network(listener, &run_loop);
    if power.is_none() {
        tracing::warn!("the system does not tell of sleep; the clocks are still watched");
    }
    if network.is_none() {
        tracing::warn!("the system does not tell of its network; the tunnels' pings remain");
    }
    // Without a source the run loop would return at once, for ever.
    while listener.is_wanted() && (power.is_some() || network.is_some()) {
        CFRunLoop::run_in_mode(default_mode(), LOOK_UP, false);
    }
    // The registrations end here, before what they point to.
}

#[expect(unsafe_code, reason = "a constant of the system's library")]
fn default_mode() -> Option<&'static objc2_core_foundation::CFRunLoopMode> {
    // SAFETY: the library sets it when it is loaded and never changes it.
    unsafe { kCFRunLoopDefaultMode }
}

/// A registration for news of power. Ends with the value.
struct Power {
    root: io_connect_t,
    notifier: io_object_t,
    port: IONotificationPortRef,
}

impl Power {
    #[expect(unsafe_code, reason = "IOKit takes pointers")]
    fn register(listener: &Listener, run_loop: &CFRunLoop) -> Option<Self> {
        let (mut port, mut notifier): (IONotificationPortRef, io_object_t) = (null_mut(), 0);
        // SAFETY: both results are written to variables that outlive the call; the context outlives the registration, see
        // `listen`, and the callback takes it for what it is.
        let root = unsafe {
            IORegisterForSystemPower(listener.as_context(), &raw mut port, Some(on_power), &raw mut notifier)
        };
        if root == 0 {
            return None;
        }
        listener.root.set(root);
        let power = Self { root, notifier, port };
        // SAFETY: the call above succeeded, so the port is one.
        let source: CFRetained<CFRunLoopSource> = unsafe { IONotificationPort::run_loop_source(port) }?;
        run_loop.add_source(Some(&source), default_mode());
        Some(power)
    }
}

impl Drop for Power {
    #[expect(unsafe_code, reason = "IOKit takes pointers")]
    fn drop(&mut self) {
        // SAFETY: these are what the registration gave, and this is the only place that gives them back.
        unsafe {
            IODeregisterForSystemPower(&raw mut self.notifier);
            IOObjectRelease(self.notifier);
            IOServiceClose(self.root);
            IONotificationPort::destroy(self.port);
        }
    }
}

#[expect(unsafe_code, reason = "IOKit calls it with a pointer")]
unsafe extern "C-unwind" fn on_power(
    context: *mut c_void,
    _service: io_service_t,
    message: u32,
    argument: *mut c_void,
) {
    // SAFETY: this is the pointer that was registered, and its listener outlives the registration.
    let listener: &Listener = unsafe { &*context.cast_const().cast() };
    #[expect(non_upper_case_globals, reason = "the names are Apple's")]
    match message {
        // Nothing here stands in the way of sleep. The argument is the number of the question.
        kIOMessageCanSystemSleep | kIOMessageSystemWillSleep => {
            IOAllowPowerChange(listener.root.get(), argument.addr().cast_signed());
        }
        kIOMessageSystemHasPoweredOn => listener.sleeps.woke(false, &listener.bulletin),
        _ => {}
    }
}

/// Registers for news of the network. Ends with the value.
#[expect(unsafe_code, reason = "SystemConfiguration takes pointers")]
fn register_network(listener: &Listener, run_loop: &CFRunLoop) -> Option<CFRetained<SCDynamicStore>> {
    let mut context = SCDynamicStoreContext {
        version: 0,
        info: listener.as_context(),
        retain: None,
        release: None,
        copyDescription: None,
    };
    let name = CFString::from_static_str("stormtunneld");
    // SAFETY: the context is copied by the call; what it points to outlives the store, see `listen`, and the callback takes
    // it for what it is.
    let store = unsafe { SCDynamicStore::new(None, &name, Some(on_network), &raw mut context) }?;
    let (keys, patterns) = (strings(&KEYS), strings(&PATTERNS));
    // SAFETY: both are arrays of strings.
    let listens = unsafe { store.set_notification_keys(Some(keys.as_opaque()), Some(patterns.as_opaque())) };
    if !listens {
        return None;
    }
    let source = SCDynamicStore::new_run_loop_source(None, &store, 0)?;
    run_loop.add_source(Some(&source), default_mode());
    Some(store)
}

fn strings(values: &[&'static str]) -> CFRetained<CFArray<CFString>> {
    let strings: Vec<CFRetained<CFString>> =
        values.iter().map(|value| CFString::from_static_str(value)).collect();
    CFArray::from_retained_objects(&strings)
}

#[expect(unsafe_code, reason = "SystemConfiguration calls it with a pointer")]
unsafe extern "C-unwind" fn on_network(
    _store: NonNull<SCDynamicStore>,
    _keys: NonNull<CFArray>,
    context: *mut c_void,
) {
    // SAFETY: this is the pointer that was registered, and its listener outlives the store.
    let listener: &Listener = unsafe { &*context.cast_const().cast() };
    listener.bulletin.report(Incident::NetworkChanged);
}
