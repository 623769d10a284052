interface Field { name: string; number: number; type: string; label?: string; oneof?: string }
export function parse(source: string): { messages: Map<string, Field[]>; enums: Map<string, [string, number][]> };
export function camel(name: string): string;
