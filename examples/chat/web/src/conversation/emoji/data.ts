/** Emoji by group: each with the words by which it is found, in English and Chinese. Loaded when first wanted. */
const GROUPS: Readonly<Record<EmojiGroup, string>> = {
  smileys:
    "😀 grin grinning 笑|😃 smiling open mouth|😄 smiling open mouth eyes|😁 grinning smiling eyes|😆 smiling open mouth tightly closed eyes|" +
    "😅 smiling open mouth cold sweat 汗|🤣 rofl rolling on floor laughing 大笑|😂 joy lol tears 笑哭|🙂 smile slightly smiling 微笑|🙃 upside down|😉 winking|" +
    "😊 smiling eyes 微笑|😇 smiling halo|🥰 smiling eyes three hearts 爱|😍 smiling heart shaped eyes 爱|🤩 grinning star eyes|😘 throwing a kiss 亲|😗 kissing|" +
    "😚 kissing closed eyes|😋 savouring delicious food|😛 stuck out tongue|😜 stuck out tongue winking eye|🤪 grinning one large small eye|" +
    "😝 stuck out tongue tightly closed eyes|🤗 hugging 抱抱|🤭 smiling eyes covering mouth|🤫 finger covering closed lips|🤔 thinking 思考|🤐 zipper mouth|" +
    "🤨 one eyebrow raised|😐 neutral|😑 expressionless|😶 without mouth|😏 smirking 得意|😒 unamused|🙄 rolling eyes 白眼|😬 grimacing|😌 relieved|😔 pensive|😪 sleepy|" +
    "🤤 drooling|😴 sleeping 睡|😷 medical mask 口罩|🤒 thermometer 生病|🤕 head bandage|🤢 nauseated|🤮 open mouth vomiting|🤧 sneezing|🥵 overheated|🥶 freezing|" +
    "🥴 uneven eyes wavy mouth|😵 dizzy|🤯 shocked exploding head 震惊|🤠 cowboy hat|🥳 party horn hat 庆祝|😎 smiling sunglasses 酷|🤓 nerd|🧐 monocle|😕 confused|" +
    "😟 worried|🙁 slightly frowning|😮 wow open mouth|😯 hushed|😲 astonished|😳 flushed 脸红|🥺 pleading eyes 可怜|😦 frowning open mouth|😧 anguished|😨 fearful|" +
    "😰 open mouth cold sweat|😥 disappointed but relieved|😢 sad crying 哭|😭 sob loudly crying 大哭|😱 screaming in fear 惊吓|😖 confounded|😣 persevering|" +
    "😞 disappointed|😓 cold sweat|😩 weary|😫 tired|🥱 yawning|😤 look triumph|😡 pouting 生气|😠 angry 生气|🤬 serious symbols covering mouth|😈 smiling horns|💀 skull|" +
    "💩 pile poo 便便|🤡 clown 小丑|👻 ghost 鬼|👽 extraterrestrial alien|🤖 robot 机器人|😺 smiling cat open mouth|😸 grinning cat smiling eyes|😹 cat tears joy|" +
    "😻 smiling cat heart shaped eyes|😼 cat wry smile|😽 kissing cat closed eyes|🙀 weary cat|😿 crying cat|😾 pouting cat|🙈 see no evil monkey|" +
    "🙉 hear no evil monkey|🙊 speak no evil monkey",
  gestures:
    "👋 wave hello bye waving 再见 你好|🤚 raised back|✋ raised|🖖 raised part between middle ring fingers|👌 ok 好的|🤏 pinching|✌️ victory 耶|" +
    "🤞 index middle fingers crossed|🤟 i love you|🤘 horns|🤙 call me|👈 left pointing backhand index|👉 right pointing backhand index|" +
    "👆 up pointing backhand index|👇 down pointing backhand index|☝️ up pointing index|👍 thumbsup +1 thumbs up 赞 好|👎 thumbsdown -1 thumbs down 踩|" +
    "✊ raised fist|👊 fisted|🤛 left facing fist|🤜 right facing fist|👏 clap clapping hands 鼓掌|🙌 person raising both hands in celebration 欢呼|👐 open hands|" +
    "🤲 palms up together|🤝 handshake 握手|🙏 pray thanks person folded hands 谢谢 拜托|✍️ writing|💅 nail polish|🤳 selfie|💪 flexed biceps 加油|👀 eyes look 看|👁️ eye|" +
    "👅 tongue|👄 mouth|🧠 brain|👶 baby|🧒 child|👦 boy|👧 girl|🧑 adult|👨 man|👩 woman|🧓 older adult|👴 older man|👵 older woman|🙍 person frowning|🙎 person pouting|" +
    "🙅 no good gesture|🙆 ok gesture|💁 information desk person|🙋 happy person raising one|🙇 person bowing deeply|🤦 facepalm palm 捂脸|🤷 shrug 不知道|🚶 pedestrian|" +
    "🏃 runner|💃 dancer|🕺 man dancing|👫 man woman holding hands|👭 two women holding hands|👬 two men holding hands|💏 kiss|💑 couple heart",
  hearts:
    "❤️ heart love 心 爱|🧡 orange heart|💛 yellow heart|💚 green heart|💙 blue heart|💜 purple heart|🖤 heart|🤍 heart|🤎 brown heart|💔 broken heart 心碎|" +
    "❣️ heart exclamation mark ornament|💕 two hearts|💞 revolving hearts|💓 beating heart|💗 growing heart|💖 sparkling heart|💘 heart arrow|💝 heart ribbon|" +
    "💋 kiss mark|💯 hundred points 满分|💢 anger|💥 collision|💫 dizzy|💦 splashing sweat|💨 dash|💬 speech balloon|💤 sleeping|🔥 fire lit 火|✨ sparkles 闪|" +
    "⭐ medium star 星|🌟 glowing star|🎉 tada party popper 庆祝 恭喜|🎊 confetti ball|🎈 balloon|🎁 wrapped present 礼物|🏆 trophy 奖杯|🥇 first place medal|" +
    "🥈 second place medal|🥉 third place medal|✅ check done mark 完成 对|❌ cross no mark 错|❓ question mark ornament 问|❗ exclamation mark 注意|⚠️ warning|" +
    "🚫 no entry|♻️ universal recycling|🆗 squared ok|🆕 squared new|🆒 squared cool",
  nature:
    "🐶 dog 狗|🐱 cat 猫|🐭 mouse|🐹 hamster|🐰 rabbit 兔|🦊 fox|🐻 bear|🐼 panda 熊猫|🐨 koala|🐯 tiger 虎|🦁 lion|🐮 cow 牛|🐷 pig 猪|🐸 frog|🐵 monkey 猴|🐔 chicken 鸡|🐧 penguin|" +
    "🐦 bird|🐤 baby chick|🦆 duck|🦉 owl|🐺 wolf|🐴 horse 马|🦄 unicorn|🐝 honeybee|🐛 bug|🦋 butterfly|🐌 snail|🐞 lady beetle|🐢 turtle|🐍 snake|🐙 octopus|🦀 crab|" +
    "🐠 tropical fish|🐟 fish|🐬 dolphin|🐳 spouting whale|🦈 shark|🐊 crocodile|🐘 elephant|🦒 giraffe|🐕 dog|🐈 cat|🌵 cactus|🎄 christmas tree|🌲 evergreen tree|" +
    "🌳 deciduous tree|🌴 palm tree|🌱 seedling|🌿 herb|🍀 four leaf clover|🍁 maple leaf|🍂 fallen leaf|🌷 tulip|🌹 rose 玫瑰|🌻 sunflower|🌸 cherry blossom|💐 bouquet|" +
    "🌍 earth globe europe africa|🌙 crescent moon 月亮|☀️ sun rays 太阳|⛅ sun behind cloud|☁️ cloud|🌧️ cloud rain|⛈️ thunder cloud rain|❄️ snowflake 雪|" +
    "⛄ snowman without snow|🌈 rainbow 彩虹|🌊 water wave|☔ umbrella rain drops|⚡ high voltage",
  food:
    "🍏 green apple|🍎 red apple 苹果|🍐 pear|🍊 tangerine|🍋 lemon|🍌 banana|🍉 watermelon 西瓜|🍇 grapes|🍓 strawberry|🍒 cherries|🍑 peach|🥭 mango|🍍 pineapple|" +
    "🥥 coconut|🥝 kiwifruit|🍅 tomato|🥑 avocado|🍆 aubergine|🥔 potato|🥕 carrot|🌽 ear maize|🌶️ hot pepper|🥒 cucumber|🍄 mushroom|🥜 peanuts|🍞 bread|🥐 croissant|" +
    "🥖 baguette bread|🧀 cheese wedge|🍖 meat on bone|🍗 poultry leg|🥩 cut meat|🍔 hamburger 汉堡|🍟 french fries|🍕 slice pizza 披萨|🌭 hot dog|🥪 sandwich|🌮 taco|" +
    "🌯 burrito|🥚 egg|🍳 cooking|🍲 pot food|🍿 popcorn|🍱 bento box|🍙 rice ball|🍚 cooked rice 米饭|🍛 curry rice|🍜 steaming bowl 面|🍝 spaghetti|🍣 sushi|" +
    "🍤 fried shrimp|🥟 dumpling 饺子|🍦 soft ice cream|🍩 doughnut|🍪 cookie|🎂 birthday cake 生日 蛋糕|🍰 shortcake|🍫 chocolate bar|🍬 candy|🍭 lollipop|" +
    "☕ hot beverage 咖啡|🍵 teacup without handle 茶|🍶 sake bottle cup|🍷 wine glass|🍸 cocktail glass|🍹 tropical drink|🍺 beer mug 啤酒|🍻 clinking beer mugs 干杯|" +
    "🥂 clinking glasses|🥤 cup straw",
  things:
    "⚽ soccer ball 足球|🏀 basketball hoop 篮球|🏈 american football|⚾ baseball|🎾 tennis racquet ball|🏐 volleyball|🏓 table tennis paddle ball|" +
    "🏸 badminton racquet shuttlecock|🥊 boxing glove|🎯 direct hit|🎮 video game 游戏|🎲 game die|🎨 artist palette|🎤 microphone|🎧 headphone|🎵 musical note 音乐|" +
    "🎶 multiple musical notes|🎹 musical keyboard|🎸 guitar|🎬 clapper board|🚗 automobile 车|🚕 taxi|🚌 bus|🚓 police car|🚑 ambulance|🚒 fire engine|🚲 bicycle|" +
    "🚂 steam locomotive|🚆 train|✈️ airplane 飞机|🚀 rocket 火箭|🛸 flying saucer|⛵ sailboat|🚢 ship|🏠 house building 家|🏢 office building|🏥 hospital|🏫 school|" +
    "⛪ church|🗼 tokyo tower|🗽 statue liberty|⌚ watch|📱 mobile phone 手机|💻 personal computer 电脑|⌨️ keyboard|🖥️ desktop computer|📷 camera 相机|📹 video camera|" +
    "📺 television|☎️ telephone|⏰ alarm clock 闹钟|⌛ hourglass|🔋 battery|💡 electric light bulb 主意|🔦 electric torch|💰 money bag 钱|💳 credit card|💎 gem stone|" +
    "🔧 wrench|🔨 hammer|🔑 key 钥匙|🔒 lock 锁|🔓 open lock|📌 pushpin 置顶|📎 paperclip 附件|✂️ scissors|📏 straight ruler|📝 memo 笔记|✏️ pencil|📖 open book|📚 books 书|" +
    "📅 calendar 日历|📈 chart upwards trend|📉 chart downwards trend|📊 bar chart|📧 e mail|📦 package|🗑️ wastebasket|🔍 left pointing magnifying glass|🔔 bell 铃|" +
    "🔕 bell cancellation stroke|📢 public address loudspeaker|🎓 graduation cap|💼 briefcase|👓 eyeglasses|👔 necktie|👕 t shirt|👗 dress|👟 athletic shoe|👑 crown|" +
    "🎒 school satchel|☂️ umbrella",
};

export type EmojiGroup = "smileys" | "gestures" | "hearts" | "nature" | "food" | "things";

/** An emoji. */
export interface Emoji {
  readonly emoji: string;
  readonly words: readonly string[];
}

export const emojiGroups: readonly (readonly [EmojiGroup, readonly Emoji[]])[] = Object.entries(GROUPS).map(([group, list]) => [
  group as EmojiGroup,
  list.split("|").map((entry) => {
    const [emoji = "", ...words] = entry.split(" ");
    return { emoji, words };
  }),
]);

/** Returns emoji that are called so, those whose names begin with it first. */
export function findEmoji(query: string, most: number): Emoji[] {
  const wanted = query.toLowerCase();
  const score = ({ words }: Emoji): number => (words.some((word) => word === wanted) ? 3 : words.some((word) => word.startsWith(wanted)) ? 2 : words.some((word) => word.includes(wanted)) ? 1 : 0);
  return emojiGroups
    .flatMap(([, list]) => list)
    .map((emoji) => ({ emoji, rank: score(emoji) }))
    .filter(({ rank }) => rank > 0)
    .sort((one, other) => other.rank - one.rank)
    .slice(0, most)
    .map(({ emoji }) => emoji);
}
