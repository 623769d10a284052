import type { Conversation } from "@im-sdk/client";
import type { ReactNode } from "react";

// The places of areas that are not there yet.
export const ConversationPane = ({ conversation }: { readonly conversation: Conversation }): ReactNode => <p>{conversation.user ?? conversation.channel}</p>;
export const RoomList = (): ReactNode => null;
export const RoomPane = ({ room }: { readonly room: string }): ReactNode => <p>{room}</p>;
export const CallLayer = (): ReactNode => null;
