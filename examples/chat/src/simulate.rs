//! `--simulate N`: people who chat on real connections, so that the page is alive.

use std::{error::Error, sync::Arc, time::Duration};

use im_sdk::{
    Signal,
    client::{Client, ClientConfig, Event},
    id::{ChannelId, UserId},
};
use rand::{RngExt, seq::IndexedRandom};
use tokio::task::JoinSet;

use crate::{
    app::App,
    database::{fold, now_ms},
    groups::{self, members, permissions::Role},
    outbox::{self, Effect},
    refusal::Result,
};

/// Where they chat: a group that everybody may join, and the live room.
const SQUARE: &str = "Town square 广场";
const OWNER: &str = "maya";
/// The mean time between two messages of one of them.
const PAUSE_S: f64 = 120.0;
/// A token outlives a demonstration.
const TOKEN: Duration = Duration::from_secs(7 * 24 * 3600);

const FIRST: [&str; 20] = [
    "Ada", "Bo", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jin", "佳怡", "子轩", "雨桐",
    "浩然", "思琪", "梓涵", "俊杰", "欣妍", "宇航", "诗涵",
];
const LAST: [&str; 10] = ["Berg", "Costa", "Diaz", "Evans", "Fischer", "李", "王", "赵", "周", "吴"];
const SAID: [&str; 24] = [
    "Good morning from the harbour",
    "Anybody up for coffee?",
    "The build is green again 🎉",
    "大家早上好！",
    "今天天气真不错",
    "I read that twice and still like it",
    "周末有人去爬山吗？",
    "Who took the good chair?",
    "👍",
    "这个功能太好用了",
    "Works on my phone too",
    "刚刚更新了文档，欢迎提意见",
    "Meeting moved to four",
    "哈哈哈",
    "Could somebody look at the second chart?",
    "收到，谢谢",
    "It's raining sideways here",
    "晚饭吃什么？",
    "That was quick!",
    "我也想知道",
    "See you on Monday",
    "已经处理好了",
    "❤️",
    "Nice picture, where is that?",
];

/// Lets people live until the task is dropped.
pub(crate) async fn run(app: Arc<App>, count: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (people, square) = match settle(&app, count).await {
        Ok(settled) => settled,
        Err(failure) => return Err(format!("the simulation was not settled: {failure:?}").into()),
    };
    let endpoints: Vec<String> = app
        .im
        .endpoints()
        .into_iter()
        .flat_map(|server| server.addresses)
        .map(|address| address.to_string())
        .collect();
    let mut living = JoinSet::new();
    for user in people {
        living.spawn(live(user, square.clone(), endpoints.clone(), app.clone()));
    }
    while let Some(ended) = living.join_next().await {
        if let Ok(Err(error)) = ended {
            tracing::warn!(error, "one of the simulated people has gone");
        }
    }
    Ok(())
}

/// Inserts them and their group, once.
async fn settle(app: &App, count: usize) -> Result<(Vec<UserId>, ChannelId)> {
    let known: Option<(String,)> = sqlx::query_as("SELECT id FROM chat_groups WHERE name = $1")
        .bind(SQUARE)
        .fetch_optional(app.database.pool())
        .await?;
    let group = match known {
        Some((group,)) => group,
        None => {
            let friends = crate::people::friend_ids(app, OWNER).await?;
            let group = groups::create(app, OWNER, SQUARE, &friends).await?;
            let update = sqlx::query("UPDATE chat_groups SET joining = 'open' WHERE id = $1").bind(&group);
            update.execute(app.database.pool()).await?;
            group
        }
    };
    let mut people = Vec::with_capacity(count);
    let mut added = Vec::new();
    let mut transaction = app.database.begin().await?;
    for number in 0..count {
        let id = format!("sim-{number:04}");
        let name = format!("{} {}", FIRST[number % FIRST.len()], LAST[number / FIRST.len() % LAST.len()]);
        let insert = "INSERT INTO users (id, name, name_folded, language, created_at) VALUES ($1, $2, $3, 'en', $4) \
             ON CONFLICT DO NOTHING";
        sqlx::query(insert)
            .bind(&id)
            .bind(&name)
            .bind(fold(&name))
            .bind(now_ms())
            .execute(&mut *transaction)
            .await?;
        if members::insert(&mut transaction, &group, &id, Role::Member).await? {
            added.push(id.clone());
        }
        people.push(id.parse()?);
    }
    app.outbox
        .add(&mut transaction, [Effect::Members { group: group.clone(), added, removed: Vec::new() }])
        .await?;
    transaction.commit().await?;
    outbox::drain(app).await?;
    Ok((people, group.parse()?))
}

/// One of them: reads everything, writes now and then, and types before.
async fn live(user: UserId, square: ChannelId, endpoints: Vec<String>, app: Arc<App>) -> Result<(), String> {
    let token = app.minter.mint(&user, TOKEN).map_err(|error| error.to_string())?;
    let endpoints = endpoints.iter().filter_map(|endpoint| endpoint.parse().ok()).collect();
    let device = format!("other/{user}").parse().map_err(|error: im_sdk::id::InvalidId| error.to_string())?;
    let client = Client::open(ClientConfig::new(endpoints, device, Arc::new(token)))
        .map_err(|error| error.to_string())?;
    client.connect();
    let room = ChannelId::parse("live-stage").map_err(|error| error.to_string())?;
    client.join_room(room.clone(), "").await.map_err(|error| error.to_string())?;
    loop {
        // Exponential pauses, as independent people have them.
        let pause = -rand::rng().random::<f64>().max(1e-9).ln() * PAUSE_S;
        let wake = tokio::time::sleep(Duration::from_secs_f64(pause));
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = &mut wake => break,
                events = client.next_events(256) => {
                    if events.is_empty() || events.iter().any(|event| matches!(event, Event::Stopped { .. })) {
                        return Ok(());
                    }
                }
            }
        }
        let text = SAID.choose(&mut rand::rng()).copied().unwrap_or("👋");
        if rand::random_bool(0.5) {
            _ = client.signal(square.clone(), Signal::typing()).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            _ = client.send(square.clone(), text);
        } else {
            _ = client.send(room.clone(), text);
        }
    }
}
