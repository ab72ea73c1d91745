//! `POST /v1/estimate`: it says what `POST /v1/messages` would, and nothing is sent.

use axum::http::Method;
use serde_json::{Value, json};

use super::house::{Answer, House};

/// One provider takes Turkish tables and the other one does not; the tenant wants both tables and likenesses.
const ACME: &str = r#"
    [[provider]]
    id = "up"
    host = "127.0.0.1"
    system_id = "up"
    single_shift = ["turkish"]
    locking_shift = ["turkish"]
    [[provider]]
    id = "spare"
    host = "127.0.0.1"
    system_id = "spare"
    long_messages = "udh16"
    [[tenant]]
    id = "acme"
    currency = "KES"
    balance = "2.00"
    price = "1.00"
    api_keys = ["tg_live_acme"]
    national = ["turkish"]
    transliterate = true
    [[route]]
    match = { prefix = ["254"] }
    providers = ["up", "spare"]
    [[route]]
    match = { prefix = ["90"] }
    providers = ["up"]
"#;

async fn estimated(house: &House, message: &Value) -> Answer {
    house.ask(Method::POST, "/v1/estimate", &[], &message.to_string()).await
}

#[tokio::test]
async fn an_estimate_says_what_sending_would_and_sends_nothing() {
    let house = House::open(ACME);
    let turkish = "Sayın müşterimiz, siparişiniz yola çıktı. ".repeat(2);
    let (kenya, turkey) = ("+254712345678", "+905321234567");
    let plain = "x".repeat(306);
    let likeness = "\u{201C}It\u{2019}s\u{201D}";
    // By the Turkish tables but for the quotation marks, which get likenesses.
    let (both, by_tables) = (format!("\u{201C}{turkish}\u{201D}"), format!("\"{turkish}\""));
    // One letter at its end, of which Unicode's composed form makes two.
    let excluded = "ж".repeat(69) + "\u{FB4B}";
    let table = [
        (kenya, &*excluded, 1, "ucs2", false, "1.00", None),
        (kenya, "Hello", 1, "gsm7", false, "1.00", None),
        // The second provider of the route has less room in a part.
        (kenya, &plain, 3, "gsm7", false, "3.00", None),
        (turkey, &plain, 2, "gsm7", false, "2.00", None),
        // Where all providers of the message take the tables; elsewhere it is UCS-2 before it is priced.
        (turkey, &turkish, 1, "gsm7", true, "1.00", None),
        (kenya, &turkish, 2, "ucs2", false, "2.00", None),
        (turkey, &both, 1, "gsm7", true, "1.00", Some(by_tables.as_str())),
        (kenya, likeness, 1, "gsm7", false, "1.00", Some("\"It's\"")),
    ];
    for (to, text, parts, encoding, national, price, transliterated) in table {
        let message = json!({"to": to, "text": text});
        let answer = estimated(&house, &message).await;
        let expected = json!({"to": to, "parts": parts, "encoding": encoding, "national": national, "price": price,
            "currency": "KES", "provider": "up", "text": text, "transliterated": transliterated});
        assert_eq!((answer.status, &answer.body), (200, &expected), "{text}");
    }
    assert_eq!(house.get("/v1/balance").await.text("available"), "2.00");
    assert_eq!(house.get("/v1/messages").await.body["data"], json!([]));
    // The same, sent: the answer is of what goes out.
    let sent = house.send(&json!({"to": kenya, "text": turkish}).to_string()).await;
    let got = (sent.status, sent.text("encoding"), sent.body["parts"].as_u64(), sent.text("price"));
    assert_eq!(got, (202, "ucs2", Some(2), "2.00"));
    let read = house.get(&format!("/v1/messages/{}", sent.text("id"))).await;
    assert_eq!((read.text("text"), read.text("encoding")), (&turkish[..], "ucs2"));
}

#[tokio::test]
async fn what_would_be_refused_is_refused_in_the_same_words() {
    let house = House::open(ACME);
    for (message, expected) in [
        (json!({"text": "a"}), (400, "invalid_request", Some("to"))),
        (json!({"to": "+254712345678", "text": "a", "provider": "x"}), (422, "no_route", Some("provider"))),
        (json!({"to": "+254712345678", "text": "x".repeat(153 * 255 + 1)}), (422, "too_long", Some("text"))),
        // One part too many for the second provider.
        (json!({"to": "+254712345678", "text": "x".repeat(153 * 255)}), (422, "too_long", Some("text"))),
        (
            json!({"messages": [{"to": "+254712345678", "text": "a"}]}),
            (400, "invalid_request", Some("messages")),
        ),
    ] {
        assert_eq!(estimated(&house, &message).await.refusal(), expected, "{message}");
    }
    let stranger = house.ask(Method::POST, "/v1/estimate", &[("x-api-key", "tg_live_nobody")], "{}").await;
    assert_eq!(stranger.status, 401);
}
