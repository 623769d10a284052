//! The members of groups, which the SDK reads when it needs them.

use im_sdk::{
    async_trait,
    cluster::{MemberTables, MembersError},
    id::{ChannelId, UserId},
};

use crate::database::Database;

#[async_trait]
impl MemberTables for Database {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        let groups: Vec<(String,)> = sqlx::query_as("SELECT group_id FROM group_members WHERE user_id = $1")
            .bind(user.as_str())
            .fetch_all(self.pool())
            .await
            .map_err(|error| MembersError::new("list a user's groups", error))?;
        Ok(groups.iter().filter_map(|(group,)| group.parse().ok()).collect())
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        let found = sqlx::query("SELECT 1 FROM group_members WHERE group_id = $1 AND user_id = $2")
            .bind(channel.as_str())
            .bind(user.as_str())
            .fetch_optional(self.pool())
            .await
            .map_err(|error| MembersError::new("look for a member", error))?;
        Ok(found.is_some())
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        let select = "SELECT user_id FROM group_members WHERE group_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3";
        let users: Vec<(String,)> = sqlx::query_as(select)
            .bind(channel.as_str())
            .bind(after.map_or("", UserId::as_str))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.pool())
            .await
            .map_err(|error| MembersError::new("list a group's members", error))?;
        Ok(users.iter().filter_map(|(user,)| user.parse().ok()).collect())
    }
}
