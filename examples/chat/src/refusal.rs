//! Every refusal of the application: a code, an HTTP status, and a text in two languages.
//!
//! Devices see the same ones through the SDK, by number: [`Refusal::number`].

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $code:literal, $status:ident, $en:literal, $zh:literal;)*) => {
        /// A reason to refuse a request or a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the number that devices are told through the SDK. It stays the same for ever.
            pub(crate) fn number(self) -> i32 {
                match self { $(Self::$name => $number,)* }
            }

            pub(crate) fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            fn text(self) -> Text {
                match self { $(Self::$name => Text { en: $en, zh: $zh },)* }
            }
        }
    };
}

refusals! {
    // Requests.
    Unexpected = 1, "unexpected", INTERNAL_SERVER_ERROR, "Something went wrong. Try again later.", "出了点问题，请稍后再试。";
    SignedOut = 2, "signed_out", UNAUTHORIZED, "You are signed out. Sign in again.", "您已退出登录，请重新登录。";
    Forged = 3, "forged", FORBIDDEN, "The request did not come from the page.", "请求并非来自本页面。";
    Malformed = 4, "malformed", BAD_REQUEST, "The request is not valid.", "请求无效。";
    NotFound = 5, "not_found", NOT_FOUND, "There is nothing here.", "这里什么也没有。";
    TooMany = 6, "too_many", TOO_MANY_REQUESTS, "That was too often. Try again later.", "操作过于频繁，请稍后再试。";
    NotPermitted = 7, "not_permitted", FORBIDDEN, "You may not do that.", "您没有此权限。";
    // Signing in.
    WrongPassword = 20, "wrong_password", UNAUTHORIZED, "The name or the password is wrong.", "用户名或密码错误。";
    WrongCode = 21, "wrong_code", UNAUTHORIZED, "The code is wrong or too old.", "验证码错误或已过期。";
    IdTaken = 22, "id_taken", CONFLICT, "This name is taken.", "该用户名已被占用。";
    InvalidId = 23, "invalid_id", BAD_REQUEST, "A user name has 3 to 32 of a-z, 0-9, dot, dash and underscore.", "用户名须为 3 至 32 位小写字母、数字、点、横线或下划线。";
    InvalidPassword = 24, "invalid_password", BAD_REQUEST, "A password has 8 to 200 characters.", "密码须为 8 至 200 个字符。";
    AddressTaken = 25, "address_taken", CONFLICT, "This address belongs to another account.", "该地址已被其他账号使用。";
    InvalidName = 26, "invalid_name", BAD_REQUEST, "A name has 1 to 64 characters.", "名称须为 1 至 64 个字符。";
    TooLong = 27, "too_long", BAD_REQUEST, "The text is too long.", "文字过长。";
    // People.
    NoSuchUser = 40, "no_such_user", NOT_FOUND, "There is no such user.", "用户不存在。";
    NotFriends = 41, "not_friends", FORBIDDEN, "You are not friends. Send a request first.", "你们还不是好友，请先发送好友申请。";
    AlreadyFriends = 42, "already_friends", CONFLICT, "You are friends already.", "你们已经是好友了。";
    NoRequest = 43, "no_request", NOT_FOUND, "There is no such request.", "没有这条申请。";
    Yourself = 44, "yourself", BAD_REQUEST, "That is you.", "这是您自己。";
    Blocked = 45, "blocked", FORBIDDEN, "You have blocked this person.", "您已屏蔽对方。";
    NoMessagesToSystem = 46, "no_messages_to_system", FORBIDDEN, "Nobody reads messages to the workspace.", "系统账号不接收消息。";
    // Groups.
    NoSuchGroup = 60, "no_such_group", NOT_FOUND, "There is no such group.", "群组不存在。";
    NotMember = 61, "not_member", FORBIDDEN, "You are not in this group.", "您不在该群组中。";
    GroupRole = 62, "group_role", FORBIDDEN, "Your role in this group does not allow that.", "您在群里的身份不允许此操作。";
    Muted = 63, "muted", FORBIDDEN, "You are muted in this group.", "您已被禁言。";
    AllMuted = 64, "all_muted", FORBIDDEN, "Only admins may write in this group now.", "全员禁言中，仅管理员可发言。";
    GroupFull = 65, "group_full", CONFLICT, "The group is full.", "群成员已满。";
    OwnerStays = 66, "owner_stays", CONFLICT, "An owner cannot leave. Hand the group over or dissolve it.", "群主不能退群，请先转让或解散。";
    NotByRequest = 67, "not_by_request", FORBIDDEN, "Only members can invite to this group.", "该群仅限成员邀请加入。";
    BadLink = 68, "bad_link", NOT_FOUND, "The link is no longer valid.", "该邀请链接已失效。";
    DepartmentGroup = 69, "department_group", CONFLICT, "The members of this group are those of its department.", "部门群的成员由部门决定。";
    NotToEverybody = 70, "not_to_everybody", FORBIDDEN, "Only admins may mention everybody.", "仅管理员可 @所有人。";
    // Departments.
    NoSuchDepartment = 80, "no_such_department", NOT_FOUND, "There is no such department.", "部门不存在。";
    DepartmentLoop = 81, "department_loop", CONFLICT, "A department cannot be inside itself.", "部门不能隶属于自身。";
    DepartmentInUse = 82, "department_in_use", CONFLICT, "The department is not empty.", "部门非空。";
    // Files.
    FileTooLarge = 100, "file_too_large", PAYLOAD_TOO_LARGE, "The file is larger than 50 MB.", "文件超过 50 MB。";
    FileType = 101, "file_type", UNSUPPORTED_MEDIA_TYPE, "Files of this type are not accepted.", "不支持此类型的文件。";
    FileContent = 102, "file_content", UNSUPPORTED_MEDIA_TYPE, "The file is not what its name says.", "文件内容与类型不符。";
    FileOffset = 103, "file_offset", CONFLICT, "The upload goes on elsewhere. Ask where.", "上传位置不一致，请重新查询。";
    FileIncomplete = 104, "file_incomplete", CONFLICT, "The file is not complete.", "文件尚未上传完成。";
    NoSuchFile = 105, "no_such_file", NOT_FOUND, "There is no such file, or it is not for you.", "文件不存在或您无权查看。";
    ForeignMedia = 106, "foreign_media", FORBIDDEN, "Pictures and files must be uploaded here.", "图片和文件须上传至本站。";
    TooManyFiles = 107, "too_many_files", TOO_MANY_REQUESTS, "Too many uploads at once.", "同时上传的文件过多。";
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Text {
    en: &'static str,
    zh: &'static str,
}

impl Refusal {
    /// Returns all refusals, for pages that show them.
    pub(crate) fn list() -> Value {
        let refusals = Self::ALL.iter().map(
            |refusal| json!({ "number": refusal.number(), "code": refusal.code(), "text": refusal.text() }),
        );
        json!({ "refusals": refusals.collect::<Vec<_>>() })
    }
}

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    retry_after_ms: Option<i64>,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Refuses until some time has passed.
    pub(crate) fn too_many(retry_after_ms: i64) -> Self {
        Self { refusal: Refusal::TooMany, retry_after_ms: Some(retry_after_ms) }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, retry_after_ms: None }
    }
}

/// Logs errors of the database and of the SDK, which are no business of the caller.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        tracing::error!(%error, "request failed");
        Refusal::Unexpected.into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.refusal.code(), "text": self.refusal.text() });
        if let Some(after) = self.retry_after_ms {
            error["retry_after_ms"] = after.into();
        }
        (self.refusal.status(), Json(json!({ "error": error }))).into_response()
    }
}

impl From<Refusal> for im_sdk::backend::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.text().en).with_code(refusal.number())
    }
}

/// A device tries again later where the application could not decide.
impl From<Failure> for im_sdk::backend::Refusal {
    fn from(failure: Failure) -> Self {
        let refusal = Self::from(failure.refusal);
        match failure.refusal {
            Refusal::Unexpected => refusal.retry_after(std::time::Duration::from_secs(1)),
            _ => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_refusals_have_the_same_number_or_code() {
        let numbers: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.number()).collect();
        let codes: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!((numbers.len(), codes.len()), (Refusal::ALL.len(), Refusal::ALL.len()));
    }
}
