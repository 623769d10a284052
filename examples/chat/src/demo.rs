//! A workspace to look at: people, friendships, departments, groups and conversations, in English and Chinese.

use im_sdk::{
    backend::{Message, channel, user},
    content::{Change, Content},
    id::{MessageId, UserId},
};
use sqlx::AnyConnection;

use crate::{
    app::App,
    database::{fold, now_ms},
    departments, groups,
    identity::account,
    people,
    refusal::Result,
};

/// Id, name, language, and what they say of themselves.
const PEOPLE: [(&str, &str, &str, &str); 12] = [
    ("maya", "Maya Lindqvist", "en", "Product. Tea before meetings."),
    ("jonas", "Jonas Weber", "en", "Backend. Ask me about queues."),
    ("wei", "陈伟", "zh", "后端工程师，爱好摄影"),
    ("amara", "Amara Okafor", "en", "Design. Small things matter."),
    ("lin", "林小雨", "zh", "设计与插画"),
    ("tomas", "Tomás Herrera", "en", "Support, in three time zones"),
    ("priya", "Priya Raman", "en", "Data and dashboards"),
    ("hao", "张浩", "zh", "客户端开发"),
    ("sofia", "Sofia Rossi", "en", "Marketing. Always on a train."),
    ("yuki", "Yuki Tanaka", "en", "Operations"),
    ("fang", "方静", "zh", "人力资源"),
    ("ben", "Ben Carter", "en", "New here"),
];

/// Name, name of the department above, and people.
const DEPARTMENTS: [(&str, Option<&str>, &[&str]); 5] = [
    ("Northwind 北风", None, &["fang", "yuki"]),
    ("Product 产品部", Some("Northwind 北风"), &["maya", "amara", "lin"]),
    ("Engineering 研发部", Some("Northwind 北风"), &["jonas", "wei"]),
    ("Apps 客户端组", Some("Engineering 研发部"), &["hao", "priya"]),
    ("Customers 客户部", Some("Northwind 北风"), &["tomas", "sofia", "ben"]),
];

/// Who said something, and what.
type Said = (&'static str, &'static str);

/// Name, members (the owner first), and what was said.
const GROUPS: [(&str, &[&str], &[Said]); 4] = [
    (
        "Launch in spring",
        &["maya", "jonas", "amara", "wei", "tomas", "priya", "sofia"],
        &[
            ("maya", "Good morning! Nine weeks to go. Who has news?"),
            (
                "jonas",
                "The new queue holds 100,000 messages a second on my old laptop. I did not believe it either.",
            ),
            ("amara", "The onboarding is down to three screens. I'll post pictures after lunch."),
            ("wei", "压测脚本已经合并了，今晚跑一遍完整的。"),
            ("priya", "Dashboards are ready. `p99` is the line to watch: https://dash.example/launch"),
            ("sofia", "The press page is online. Please read it once, every typo is yours now 🙂"),
            ("tomas", "Customers ask whether old conversations move over. They do, don't they?"),
            ("maya", "They do. @jonas can say how"),
            ("jonas", "One command, and it can be repeated. I'll write it down."),
        ],
    ),
    (
        "设计评审",
        &["lin", "amara", "maya", "hao"],
        &[
            ("lin", "新的图标我放在文件夹里了，大家看看。"),
            ("hao", "深色模式下那个蓝色有点刺眼。"),
            ("amara", "Agreed. A little less saturation, and it is perfect."),
            ("lin", "好的，我今天改。👌"),
        ],
    ),
    (
        "Lunch 🍜",
        &["yuki", "ben", "hao", "fang", "jonas", "maya", "wei"],
        &[
            ("yuki", "Noodles at half past twelve?"),
            ("fang", "我可以！"),
            ("ben", "Count me in. Where do we meet?"),
            ("yuki", "At the door. It's raining, bring something."),
        ],
    ),
    (
        "On call",
        &["jonas", "wei", "hao", "priya", "yuki"],
        &[
            ("yuki", "Deployed on a Friday. Nothing happened, as it should be."),
            ("wei", "服务器滚动升级完成，没有丢一条消息。"),
            ("priya", "Confirmed by the graphs."),
        ],
    ),
];

/// Whether the first of two people said something, and what.
type Line = (bool, &'static str);

/// Two people, and what they said.
const TALKS: [(&str, &str, &[Line]); 4] = [
    (
        "maya",
        "jonas",
        &[
            (true, "Do you have ten minutes this afternoon?"),
            (false, "Sure. Three o'clock, the small room?"),
            (true, "Perfect. I'll bring the tea."),
            (false, "Then I'll bring questions."),
        ],
    ),
    (
        "maya",
        "wei",
        &[
            (true, "How did the load test go?"),
            (false, "很顺利！报告我晚点发给你。"),
            (true, "谢谢，辛苦了！"),
        ],
    ),
    ("lin", "hao", &[(true, "新版的图片查看器试过了吗？"), (false, "试了，双指缩放很流畅。")]),
    ("amara", "maya", &[(true, "I changed the empty states. Less text, more air."), (false, "Love it.")]),
];

/// Fills the tables and the logs, once.
pub(crate) async fn fill(app: &App) -> Result<()> {
    let filled = sqlx::query("SELECT 1 FROM users WHERE is_demo = 1").fetch_optional(app.database.pool());
    if filled.await?.is_some() {
        return Ok(());
    }
    let mut transaction = app.database.begin().await?;
    for (number, person) in PEOPLE.into_iter().enumerate() {
        insert_person(&mut transaction, person, number as i64).await?;
    }
    account::grant_role(&mut transaction, "maya", "administrator").await?;
    // Everybody knows everybody but the newcomer, who has two friends and a request.
    for (number, (one, ..)) in PEOPLE.iter().enumerate() {
        for (other, ..) in PEOPLE.iter().skip(number + 1).filter(|(other, ..)| *other != "ben") {
            people::befriend(&mut transaction, one, other).await?;
        }
    }
    for friend in ["yuki", "tomas"] {
        people::befriend(&mut transaction, "ben", friend).await?;
    }
    transaction.commit().await?;
    people::ask(app, "ben", "maya", "Hi Maya, I'm Ben, I started on Monday.").await?;
    fill_departments(app).await?;
    for (name, members, said) in GROUPS {
        let others: Vec<String> = members[1..].iter().map(|member| (*member).to_owned()).collect();
        // The newcomer was added by a friend.
        let invited: Vec<String> = others.iter().filter(|member| *member != "ben").cloned().collect();
        let id = groups::create(app, members[0], name, &invited).await?;
        if others.len() > invited.len() {
            groups::members::invite(app, "yuki", &id, &["ben".to_owned()]).await?;
        }
        // The members are told to the SDK before anybody writes.
        crate::outbox::drain(app).await?;
        let mut last = None;
        for (from, text) in said {
            let message = Message::to(channel(id.as_str())).from(*from).content(mentioning(text));
            last = Some(app.im.send(message).await?);
        }
        if let Some(receipt) = last {
            react(app, &id, receipt.message_id, members).await?;
        }
    }
    for (one, other, said) in TALKS {
        for (is_first, text) in said {
            let (from, to) = if *is_first { (one, other) } else { (other, one) };
            app.im.send(Message::to(user(to)).from(from).text(*text)).await?;
        }
    }
    Ok(())
}

async fn insert_person(
    connection: &mut AnyConnection,
    person: (&str, &str, &str, &str),
    at: i64,
) -> Result<()> {
    let (id, name, language, about) = person;
    let insert = "INSERT INTO users (id, name, name_folded, about, language, is_demo, created_at) \
         VALUES ($1, $2, $3, $4, $5, 1, $6)";
    sqlx::query(insert)
        .bind(id)
        .bind(name)
        .bind(fold(name))
        .bind(about)
        .bind(language)
        .bind(now_ms() + at)
        .execute(connection)
        .await?;
    Ok(())
}

async fn fill_departments(app: &App) -> Result<()> {
    let mut ids: Vec<(&str, String)> = Vec::new();
    for (name, above, people) in DEPARTMENTS {
        let parent =
            above.and_then(|above| ids.iter().find(|(name, _)| *name == above).map(|(_, id)| id.clone()));
        let id = departments::create(app, "maya", name, parent.as_deref()).await?;
        for person in people {
            departments::move_user(app, "maya", person, Some(&id)).await?;
        }
        ids.push((name, id));
    }
    crate::outbox::drain(app).await
}

/// Makes mentions of the people that a text names.
fn mentioning(text: &str) -> Content {
    let named = PEOPLE.iter().filter(|(id, ..)| text.contains(&format!("@{id}")));
    named.filter_map(|(id, ..)| UserId::parse(id).ok()).fold(Content::text(text), Content::mention)
}

/// Has two members react to a message.
async fn react(app: &App, group: &str, message: MessageId, members: &[&str]) -> Result<()> {
    for (member, emoji) in members.iter().skip(1).zip(["👍", "❤️"]) {
        let reaction = Change::react(message, emoji);
        app.im.send(Message::to(channel(group)).from(*member).content(reaction)).await?;
    }
    Ok(())
}
