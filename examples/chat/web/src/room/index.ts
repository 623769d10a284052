export { RoomList } from "./RoomList";
export { RoomPane } from "./RoomPane";
