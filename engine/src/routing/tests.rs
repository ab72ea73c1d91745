//! What routes and prices promise, by tables and against a plain search.

use proptest::prelude::*;

use super::order::CYCLE_MAX;
use super::*;
use crate::catalog::Strategy;

fn provider(index: u16) -> ProviderInput {
    ProviderInput { index, enabled: true, priority: u32::from(index), channels: vec![Channel::Sms] }
}

fn route(prefixes: &[&str], providers: &[u16]) -> RouteInput {
    RouteInput {
        prefixes: prefixes.iter().map(|prefix| prefix.to_string()).collect(),
        providers: providers.iter().map(|index| (*index, 1)).collect(),
        ..RouteInput::default()
    }
}

fn router(routes: Vec<RouteInput>) -> Router {
    let input =
        RoutingInput { routes, providers: (0..10).map(provider).collect(), ..RoutingInput::default() };
    Router::compile(&input).expect("lawful routes")
}

fn query(tenant: u32, destination: u64, sender: &[u8]) -> Query<'_> {
    Query { tenant, destination, sender, channel: Channel::Sms }
}

fn no_cost(_: u16) -> Option<Micros> {
    None
}

#[test]
fn thousands_of_routes_to_the_same_providers_are_twelve_octets_each_and_one_way() {
    let routes = (0..5_000).map(|place| route(&[&format!("254{place:04}")], &[place % 5, (place + 1) % 5]));
    let router = router(routes.collect());
    assert_eq!((size_of::<Route>(), router.runs.len(), router.ways.len()), (12, 5_000, 5));
}

#[test]
fn priority_then_the_longer_prefix_then_the_earlier_route_decides() {
    let urgent = RouteInput { priority: -1, ..route(&["25470"], &[5]) };
    let router = router(vec![
        route(&["254"], &[0]),
        route(&["+2547", "255"], &[1]),
        route(&["2547"], &[2]),
        route(&[], &[3]),
        RouteInput { priority: 1, ..route(&["2547111"], &[4]) },
        urgent,
    ]);
    let table = [
        (254_100, Some(0)),
        (2_547_111, Some(1)),
        (2_551, Some(1)),
        (254_701, Some(5)),
        (1, Some(3)),
        (0, Some(3)),
        (u64::MAX, Some(3)),
        (25, Some(3)),
    ];
    for (destination, expected) in table {
        assert_eq!(router.matching(&query(0, destination, b"")), expected, "{destination}");
    }
}

#[test]
fn tenant_sender_and_channel_conditions_all_have_to_hold() {
    let router = router(vec![
        RouteInput { tenants: vec![1, 2], ..route(&["254"], &[0]) },
        RouteInput { senders: vec![SenderMatch::Exact(b"ACME".to_vec())], ..route(&["254"], &[1]) },
        RouteInput { senders: vec![SenderMatch::StartsWith(b"BANK".to_vec())], ..route(&["2547"], &[2]) },
        RouteInput {
            tenants: vec![3],
            senders: vec![SenderMatch::Exact(b"X".to_vec()), SenderMatch::StartsWith(b"Y".to_vec())],
            ..route(&["2"], &[3])
        },
        RouteInput { channels: vec![Channel::Whatsapp], ..route(&["254"], &[4]) },
    ]);
    let table: [(u32, u64, &[u8], Option<u32>); 11] = [
        (1, 2541, b"ACME", Some(0)),
        (3, 2541, b"ACME", Some(1)),
        (3, 2541, b"ACME2", None),
        (3, 2541, b"acme", None),
        (3, 2547, b"BANKER", Some(2)),
        (3, 2541, b"BANKER", None),
        (1, 2547, b"BANKER", Some(2)),
        (3, 2999, b"X", Some(3)),
        (3, 2999, b"Yes", Some(3)),
        (4, 2999, b"X", None),
        (9, 2541, b"", None),
    ];
    for (tenant, destination, sender, expected) in table {
        assert_eq!(
            router.matching(&query(tenant, destination, sender)),
            expected,
            "{tenant} {destination} {sender:?}"
        );
    }
}

#[test]
fn a_route_without_a_carrier_for_the_channel_is_passed_over() {
    let whatsapp = ProviderInput { channels: vec![Channel::Whatsapp], ..provider(1) };
    let routes = vec![route(&["254"], &[0]), route(&[], &[0, 1])];
    let input = RoutingInput { routes, providers: vec![provider(0), whatsapp], ..RoutingInput::default() };
    let router = Router::compile(&input).expect("lawful routes");
    let query = Query { channel: Channel::Whatsapp, ..query(0, 2541, b"") };
    let choice = router.choose(&query, &mut Turns::default(), no_cost);
    assert_eq!((choice.route, &choice.providers[..]), (Some(1), &[1][..]));
}

#[test]
fn each_strategy_orders_the_providers_in_its_way() {
    let with = |strategy| RouteInput { strategy, ..route(&[], &[7, 8, 9]) };
    let weights = vec![(7, 2), (8, 1), (9, 0)];
    let cost = |index| [(7, 30), (9, 10)].iter().find(|pair| pair.0 == index).map(|pair| Micros(pair.1));
    let table: [(RouteInput, [&[u16]; 4]); 4] = [
        (with(Strategy::Failover), [&[7, 8, 9], &[7, 8, 9], &[7, 8, 9], &[7, 8, 9]]),
        (with(Strategy::RoundRobin), [&[7, 8, 9], &[8, 9, 7], &[9, 7, 8], &[7, 8, 9]]),
        (with(Strategy::LeastCost), [&[9, 7], &[9, 7], &[9, 7], &[9, 7]]),
        (
            RouteInput { providers: weights, ..with(Strategy::Weighted) },
            [&[7, 8, 9], &[8, 7, 9], &[7, 8, 9], &[7, 8, 9]],
        ),
    ];
    for (route, expected) in table {
        let strategy = route.strategy;
        let router = router(vec![route]);
        let mut turns = Turns::default();
        for order in expected {
            let choice = router.choose(&query(0, 1, b""), &mut turns, cost);
            assert_eq!(&choice.providers[..], order, "{strategy:?}");
        }
    }
}

#[test]
fn disabled_providers_take_no_part() {
    let disabled = ProviderInput { enabled: false, ..provider(1) };
    let weighted =
        RouteInput { providers: vec![(1, 9), (2, 1)], strategy: Strategy::Weighted, ..route(&["1"], &[]) };
    let input = RoutingInput {
        routes: vec![weighted, route(&["2"], &[1])],
        providers: vec![provider(0), disabled, provider(2)],
        default_providers: vec![Some(1), Some(2)],
        fallback: true,
    };
    let router = Router::compile(&input).expect("lawful routes");
    let table: [(u32, u64, Option<u32>, &[u16]); 4] =
        [(0, 1, Some(0), &[2]), (0, 2, Some(1), &[]), (0, 3, None, &[0, 2]), (1, 3, None, &[2, 0])];
    for (tenant, destination, route, providers) in table {
        for _ in 0..3 {
            let choice = router.choose(&query(tenant, destination, b""), &mut Turns::default(), no_cost);
            assert_eq!((choice.route, &choice.providers[..]), (route, providers), "{tenant} {destination}");
        }
    }
}

#[test]
fn the_implicit_route_is_the_default_provider_then_the_others_by_priority() {
    let mut input = RoutingInput {
        providers: (0..12)
            .map(|index| ProviderInput { priority: 100 - u32::from(index), ..provider(index) })
            .collect(),
        default_providers: vec![None, Some(3)],
        fallback: true,
        ..RoutingInput::default()
    };
    let order = |input: &RoutingInput, tenant| {
        let router = Router::compile(input).expect("no routes");
        router.choose(&query(tenant, 254, b""), &mut Turns::default(), no_cost).providers.to_vec()
    };
    assert_eq!(order(&input, 0), [11, 10, 9, 8, 7, 6, 5, 4]);
    assert_eq!(order(&input, 1), [3, 11, 10, 9, 8, 7, 6, 5]);
    assert_eq!(order(&input, 99), [11, 10, 9, 8, 7, 6, 5, 4]);
    input.fallback = false;
    assert_eq!(order(&input, 0), [0u16; 0]);
    assert_eq!(order(&input, 1), [3]);
}

#[test]
fn routes_that_could_never_mean_anything_are_refused() {
    let prefix = |prefix: &str| RoutingError::Prefix { route: 1, prefix: prefix.into() };
    let weightless = RouteInput { providers: vec![(1, 0)], strategy: Strategy::Weighted, ..route(&[], &[]) };
    let table = [
        (route(&["25x"], &[1]), prefix("25x")),
        (route(&["++1"], &[1]), prefix("++1")),
        (route(&["٢"], &[1]), prefix("٢")),
        (route(&["25470000000000000000"], &[1]), prefix("25470000000000000000")),
        (route(&[], &[]), RoutingError::NoProviders { route: 1 }),
        (route(&[], &[1; 9]), RoutingError::TooManyProviders { route: 1, count: 9 }),
        (route(&[], &[77]), RoutingError::UnknownProvider { route: 1, provider: 77 }),
        (weightless, RoutingError::NoWeight { route: 1 }),
    ];
    for (wrong, expected) in table {
        let input = RoutingInput {
            routes: vec![route(&[], &[0]), wrong],
            providers: vec![provider(0), provider(1)],
            ..RoutingInput::default()
        };
        assert_eq!(Router::compile(&input).err(), Some(expected));
    }
}

#[test]
fn the_longest_prefix_has_the_price() {
    let rates = |entries: &[(&str, i64)]| {
        let entries: Vec<(String, Micros)> =
            entries.iter().map(|(prefix, price)| (prefix.to_string(), Micros(*price))).collect();
        Rates::compile(&entries)
    };
    let open = rates(&[("", 1), ("254", 2), ("+25470", 3), ("254", 4)]).expect("lawful prices");
    for (destination, price) in
        [(1, 1), (0, 1), (254, 4), (25_471, 4), (25_470, 3), (254_701_234_567, 3), (25, 1)]
    {
        assert_eq!(open.price(destination), Some(Micros(price)), "{destination}");
    }
    let closed = rates(&[("254", 2)]).expect("lawful prices");
    assert_eq!((closed.price(2_541), closed.price(255)), (Some(Micros(2)), None));
    assert_eq!(Rates::default().price(254), None);
    assert_eq!(
        rates(&[("", 1), ("2 54", 1)]).err(),
        Some(RoutingError::PricePrefix { entry: 1, prefix: "2 54".into() })
    );
}

proptest! {
    #[test]
    fn weights_are_kept_over_a_cycle(weights in prop::collection::vec(0u32..50, 1..8)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let providers = (0..).zip(weights.iter().copied()).collect();
        let router = router(vec![RouteInput { providers, strategy: Strategy::Weighted, ..RouteInput::default() }]);
        let sum: u32 = weights.iter().sum();
        let mut turns = Turns::default();
        let mut first = vec![0u32; weights.len()];
        for _ in 0..sum {
            let choice = router.choose(&query(0, 1, b""), &mut turns, no_cost);
            prop_assert_eq!(choice.providers.len(), weights.len());
            first[usize::from(choice.providers[0])] += 1;
        }
        prop_assert_eq!(first, weights);
    }

    #[test]
    fn large_weights_lose_nobody(weights in prop::collection::vec(1u32..=u32::MAX, 1..8)) {
        let cycle = weighted_cycle(&weights);
        prop_assert!(cycle.len() <= CYCLE_MAX);
        prop_assert!((0..weights.len()).all(|place| cycle.contains(&(place as u8))));
    }

    #[test]
    fn a_look_up_agrees_with_trying_every_route(
        routes in prop::collection::vec(
            (-1i32..2, prop::collection::vec("[12]{0,3}", 0..3), prop::collection::vec(0u32..3, 0..2),
             prop::collection::vec((any::<bool>(), "[ab]{0,2}"), 0..3)),
            0..12,
        ),
        tenant in 0u32..3, destination in "[12]{1,4}", sender in "[ab]{0,3}",
    ) {
        let inputs: Vec<RouteInput> = routes.into_iter().map(|(priority, prefixes, tenants, senders)| RouteInput {
            priority, prefixes, tenants,
            senders: senders.into_iter().map(|(exact, text)| match exact {
                true => SenderMatch::Exact(text.into_bytes()),
                false => SenderMatch::StartsWith(text.into_bytes()),
            }).collect(),
            providers: vec![(0, 1)],
            ..RouteInput::default()
        }).collect();
        let matched_length = |route: &RouteInput| {
            let tenant_fits = route.tenants.is_empty() || route.tenants.contains(&tenant);
            let sender_fits = route.senders.is_empty()
                || route.senders.iter().any(|condition| condition.accepts(sender.as_bytes()));
            let any = [String::new()];
            let prefixes = if route.prefixes.is_empty() { &any[..] } else { &route.prefixes };
            let length = prefixes.iter().filter(|prefix| destination.starts_with(*prefix)).map(String::len).max();
            length.filter(|_| tenant_fits && sender_fits)
        };
        let expected = (0u32..).zip(&inputs)
            .filter_map(|(place, route)| Some((route.priority, Reverse(matched_length(route)?), place)))
            .min().map(|(_, _, place)| place);
        let number = destination.parse().expect("digits");
        prop_assert_eq!(router(inputs).matching(&query(tenant, number, sender.as_bytes())), expected);
    }
}
