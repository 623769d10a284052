import { texts } from "./define";

/** The texts of the shell: signing in, lists, people, groups, settings. */
export const shell = texts({
  "app.name": { en: "Chat", zh: "聊天" },
  close: { en: "Close", zh: "关闭" },
  cancel: { en: "Cancel", zh: "取消" },
  save: { en: "Save", zh: "保存" },
  back: { en: "Back", zh: "返回" },
  retry: { en: "Try again", zh: "重试" },
  more: { en: "More", zh: "更多" },
  "error.offline": { en: "The server cannot be reached. Check your connection.", zh: "无法连接服务器，请检查网络。" },
  "error.unexpected": { en: "Something went wrong. Please try again.", zh: "出了点问题，请重试。" },
});
