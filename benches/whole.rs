//! The whole: a gateway as a process, a simulated provider and a generator here, a message counted when its receipt is back.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use loadtest::smpp::{self, Options};
use loadtest::smsc::Profile;
use loadtest::stage::settings::Settings;
use loadtest::stage::{Gateway, Provider};

const MESSAGES: u32 = 100_000;

pub fn bench(criterion: &mut Criterion) {
    let directory =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build");
    let profile = Profile { record_max: 0, ..Profile::default() };
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut house: Option<(Provider, Gateway)> = None;
    let mut first = 0;
    let mut group = criterion.benchmark_group("whole");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(u64::from(MESSAGES)));
    group.bench_function("SMPP to SMPP and the receipt back", |bencher| {
        // Only here, so that no other bench shares its time with a gateway.
        let (_, gateway) = house.get_or_insert_with(|| {
            let provider = Provider::start(loopback, profile.clone()).expect("a simulated provider");
            let settings = Settings::on_free_ports(provider.handle.address()).expect("free ports");
            let program = Path::new(env!("CARGO_BIN_EXE_tidegate"));
            let gateway = Gateway::start(program, &directory.path().join("store"), settings);
            (provider, gateway.expect("a gateway"))
        });
        bencher.iter_custom(|iterations| {
            let mut took = 0.0;
            for _ in 0..iterations {
                let work = Options { count: MESSAGES, first, ..gateway.over_smpp() };
                let summary = smpp::run(work).expect("a run").summary;
                assert!(summary.is_clean(), "{summary}");
                first += u64::from(MESSAGES);
                took += summary.seconds;
            }
            Duration::from_secs_f64(took)
        });
    });
    group.finish();
}
