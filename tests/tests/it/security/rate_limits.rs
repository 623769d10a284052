//! Rate limits slow a fast sender down without loss and without effect on others.

use std::time::{Duration, Instant};

use im_proto::{frame, pb, pb::frame::Body};
use im_sdk::backend::Incoming;
use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions},
};
use tokio::{io::AsyncReadExt, net::TcpSocket, time::timeout};

everywhere!(a_refusal_tells_when_to_try_again, a_fast_device_is_slowed_down_and_loses_nothing);

const PER_SECOND: u32 = 5;

async fn start(setup: Setup) -> Stack {
    let options = ServerOptions { max_publishes_per_second: PER_SECOND, ..ServerOptions::default() };
    Stack::start_with(setup, 1, options).await
}

fn publish(number: u64) -> Body {
    let text = pb::content::Body::Text(pb::Text { text: "hi".into() });
    Body::Publish(pb::Publish {
        number,
        to: format!("user-{number}"),
        content: Some(text.into()),
        ..pb::Publish::default()
    })
}

async fn result(raw: &mut Raw) -> pb::PublishResult {
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) => return result,
            // Messages that the device sent arrive in its own inbox.
            Heard::Frame(Body::Reset(_) | Body::SyncDone(_) | Body::Push(_)) => {}
            other => panic!("a result expected: {other:?}"),
        }
    }
}

fn refused(result: &pb::PublishResult) -> Option<&pb::Refused> {
    match &result.outcome {
        Some(pb::publish_result::Outcome::Refused(refused)) => Some(refused),
        _ => None,
    }
}

async fn a_refusal_tells_when_to_try_again(setup: Setup, via: Via) {
    let stack = start(setup).await;
    let im = stack.backend().await;
    let _service = im.serve(async |incoming: Incoming| Ok(incoming.accept())).await.unwrap();
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("hasty").await;
    // Twice the burst limit, all in one write.
    let numbers = 1..=u64::from(2 * PER_SECOND);
    let frames: Vec<_> = numbers.clone().map(|number| frame::encode(publish(number))).collect();
    raw.send(frames.concat()).await;
    let mut results = Vec::new();
    for _ in numbers {
        results.push(result(&mut raw).await);
    }
    let accepted = results.iter().filter(|result| refused(result).is_none());
    assert!(accepted.count() >= PER_SECOND as usize, "{results:?}");
    let refusal = results.iter().find(|result| refused(result).is_some()).unwrap();
    let said = refused(refusal).unwrap();
    assert_eq!(said.kind(), pb::RefusalKind::TooMany);
    assert!((1..=1000 / PER_SECOND).contains(&said.retry_after_ms), "{said:?}");
    // The refused number is free, and succeeds after that time.
    tokio::time::sleep(Duration::from_millis(said.retry_after_ms.into())).await;
    raw.send_frame(publish(refusal.number)).await;
    let again = result(&mut raw).await;
    assert_eq!((again.number, refused(&again)), (refusal.number, None));
}

async fn a_fast_device_is_slowed_down_and_loses_nothing(setup: Setup, via: Via) {
    const MESSAGES: u32 = 4 * PER_SECOND;
    let stack = start(setup).await;
    let im = stack.backend().await;
    let _service = im.serve(async |incoming: Incoming| Ok(incoming.accept())).await.unwrap();
    let hasty = stack.connect("hasty", "web/tab", 0, via).await;
    let mut other = stack.connect("other", "web/tab", 0, via).await;
    let started = Instant::now();
    let texts: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for text in &texts {
        timeout(PATIENCE, hasty.publish("other", text)).await.unwrap().unwrap();
    }
    // All beyond the first burst arrive at the rate.
    let least = Duration::from_secs((MESSAGES / PER_SECOND - 1).into());
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    for text in texts {
        assert_eq!(other.text().await, text);
    }
}

#[tokio::test]
async fn an_address_that_connects_too_often_leaves_room_for_others() {
    let options = ServerOptions { max_connects_per_second_per_address: 5, ..ServerOptions::default() };
    let stack = Stack::start_with(Setup::Embedded, 1, options).await;
    let endpoint = stack.servers[0].endpoint(Via::WebSocket);
    let address = endpoint.split("//").nth(1).unwrap().parse().unwrap();
    let connect = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(address).await.unwrap()
    };
    let mut hasty = Vec::new();
    for _ in 0..200 {
        hasty.push(connect([127, 0, 0, 2]).await);
    }
    // Well before their `hello_timeout`; the first ones of each second stay.
    let is_dropped = async |stream: &mut tokio::net::TcpStream| {
        timeout(Duration::from_millis(20), stream.read_u8()).await.is_ok()
    };
    let mut dropped = 0;
    for stream in &mut hasty {
        dropped += usize::from(is_dropped(stream).await);
    }
    assert!(dropped > 100, "{dropped} of 200 are dropped");
    // 127.0.0.1 has not connected yet.
    Raw::connect(&stack, 0, Via::WebSocket).await.log_in("patient").await;
}
